"""Choices are checked, saved, restored and noted; a bad file never stops a start."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from deepstream.control.appearance import Appearance, parse_settings
from deepstream.control.controls import MAX_AUDIT_BYTES, Controls, default_settings_file
from deepstream.control.keys import meaning
from xpnet.errors import UserError
from xpnet.overlay import OverlayStyle


def test_choices_survive_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "new" / "overlay.json"
    first = Controls(Appearance(), file)
    first.restore()
    changes = {
        "enabled": False, "shape": "corners", "opacity": 0.5, "threshold": 0.3,
        "smoothing": True, "confirmation": True, "region": "0.1,0,0.8,1",
    }  # fmt: skip
    first.change({**changes, "colour": "ff8000"}, "http")
    second = Controls(Appearance(style=OverlayStyle(opacity=0.9), signs=True), file)
    second.restore()
    # What nobody chose is as this run was started.
    assert second.appearance.as_dict() == {**changes, "colour": "ff8000", "signs": True}
    second.change({"opacity": 0.6}, "key")
    third = Controls(Appearance(), file)
    third.restore()
    assert third.appearance.as_dict() == {
        **changes, "colour": "ff8000", "signs": False, "opacity": 0.6
    }  # fmt: skip


def test_changes_are_noted_once_with_old_and_new_value(tmp_path: Path) -> None:
    controls = Controls(Appearance(), tmp_path / "o.json")
    controls.change({"opacity": 0.4}, "key")
    controls.change({"opacity": 0.4}, "http")  # no change
    controls.change({"threshold": None, "enabled": False}, "http")
    lines = [json.loads(x) for x in (tmp_path / "o.audit.jsonl").read_text().splitlines()]
    assert [(x["by"], x["changes"]) for x in lines] == [
        ("key", {"opacity": [0.18, 0.4]}),
        ("http", {"enabled": [True, False]}),
    ]
    assert all(x["time"].endswith("+00:00") for x in lines)


def test_audit_trail_does_not_grow_without_limit(tmp_path: Path) -> None:
    trail = tmp_path / "o.audit.jsonl"
    trail.write_text("x" * (MAX_AUDIT_BYTES + 1))
    Controls(Appearance(), tmp_path / "o.json").change({"enabled": False}, "key")
    assert len(trail.read_text().splitlines()) == 1
    assert (tmp_path / "o.audit.old.jsonl").stat().st_size > MAX_AUDIT_BYTES


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff\xfe", b'{"opacity": 7}', b'{"colour": 5}', b'{"unknown": 1}',
     b'{"enabled": "yes"}', b'{"opacity": NaN}', b'{"shape": "star"}'],
)  # fmt: skip
def test_file_that_cannot_be_used_is_set_aside(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "o.json"
    file.write_bytes(content)
    controls = Controls(Appearance(), file)
    controls.restore()
    assert controls.appearance == Appearance()
    assert (tmp_path / "o.unusable.json").read_bytes() == content
    assert "default settings are used" in caplog.text
    controls.change({"enabled": False}, "key")
    assert json.loads(file.read_text())["enabled"] is False


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_that_cannot_be_written_keeps_the_choice(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tmp_path.chmod(0o500)
    controls = Controls(Appearance(), tmp_path / "o.json")
    assert controls.change({"enabled": False}, "key").enabled is False
    tmp_path.chmod(0o700)
    assert "not saved" in caplog.text


def test_settings_file_in_the_place_of_a_folder_keeps_the_choice(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    controls = Controls(Appearance(), tmp_path / "file" / "o.json")
    assert controls.change({"enabled": False}, "key").enabled is False
    assert "not saved" in caplog.text
    assert "not recorded" in caplog.text


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"opacity": 1.5}, "setting 'opacity': 1.5, expected a number from 0 to 1"),
        ({"opacity": True}, "setting 'opacity': True, expected a number from 0 to 1"),
        ({"threshold": "0.5"}, "setting 'threshold': '0.5', expected a number from 0 to 1"),
        ({"threshold": float("nan")}, "setting 'threshold': nan, expected a number from 0 to 1"),
        ({"enabled": 1}, "setting 'enabled': 1, expected true or false"),
        ({"shape": "star"}, "shape 'star': expected fill, contour, corners"),
        ({"shape": None}, "setting 'shape': None, expected text"),
        ({"colour": "blue"}, "colour 'blue': expected RRGGBB"),
        ({"style": {}}, "setting 'style': expected one of enabled"),
    ],
)
def test_wrong_values_change_nothing(values: dict[str, object], message: str) -> None:
    controls = Controls(Appearance())
    with pytest.raises(UserError, match=message.replace(".", r"\.")):
        controls.change({"signs": True, **values}, "http")
    assert controls.appearance == Appearance()


def test_words_of_a_command_line() -> None:
    words = ["enabled=false", "opacity=0.3", "threshold=card", "shape=corners", "colour=ff0000"]
    assert parse_settings(words) == {
        "enabled": False, "opacity": 0.3, "threshold": None, "shape": "corners", "colour": "ff0000",
    }  # fmt: skip
    for word, message in (
        ("on", "on: expected NAME=VALUE"),
        ("enabled=on", "enabled=on: expected true or false"),
        ("opacity=much", "opacity=much: expected a number"),
    ):
        with pytest.raises(UserError, match=message):
            parse_settings([word])


def test_keys() -> None:
    controls = Controls(Appearance())
    shapes = []
    for _ in range(3):
        controls.change(meaning("s", controls), "key")
        shapes.append(controls.appearance.style.shape)
    assert shapes == ["contour", "corners", "fill"]
    for key, opacity in (("plus", 0.28), ("minus", 0.18), ("minus", 0.08), ("minus", 0.0)):
        controls.change(meaning(key, controls), "key")
        assert controls.appearance.style.opacity == opacity
    controls.change(meaning("m", controls), "key")
    assert not controls.appearance.enabled
    assert meaning("q", controls) == {}


def test_settings_are_in_the_users_configuration(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert default_settings_file() == tmp_path / "xpnet" / "overlay.json"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_settings_file() == tmp_path / ".config" / "xpnet" / "overlay.json"
