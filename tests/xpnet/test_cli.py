"""Commands that print information, and how the command line ends."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT, one_line
from xpnet.cli import main


def test_info_as_json(xpnet) -> None:
    found = json.loads(xpnet("doctor", "info", "--json").stdout)
    assert found["versions"]["numpy"]
    assert found["networks"]["student"]["parameters"] == 1_839_333
    assert found["networks"]["unet"]["multiply_adds"] == pytest.approx(48.28e9, rel=1e-4)
    assert set(found["models"]) == {"xpnet", "xpnet_onnx", "xpnet_lite", "xpnet_lite_onnx"}
    assert found["models"]["xpnet_onnx"]["licence"] == "Apache-2.0"


def test_unknown_host_is_reported(xpnet) -> None:
    assert "give another address" in one_line(xpnet("serve", "--host", "nosuch.invalid"))


def test_info_as_text(xpnet) -> None:
    assert "1,839,333 parameters, 12.11 G multiply-adds" in xpnet("doctor", "info").stdout


def test_doctor_finds_the_installed_parts(xpnet) -> None:
    result = xpnet("doctor", "--json")
    assert result.returncode == 0, result.stdout
    found = {c["name"]: c for c in json.loads(result.stdout)}
    assert all(found[n]["ok"] for n in ("tritonserver", "GStreamer", "onnxruntime", "models"))
    assert found["tritonserver"]["found"].endswith("bin/tritonserver")


def test_doctor_reports_missing_parts_with_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from deepstream import gstreamer

    monkeypatch.setitem(gstreamer.ELEMENTS, "nosuchelement", "gstreamer1.0-nosuch")
    assert main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "MISSING  GStreamer" in said
    assert "nosuchelement (gstreamer1.0-nosuch)" in said
    assert "scripts/setup.sh" in said


def test_wrong_use_gives_exit_code_2(xpnet) -> None:
    for arguments in ((), ("nosuch",), ("run",), ("run", "a.mp4"), ("evaluate",)):
        assert xpnet(*arguments).returncode == 2


def test_unexpected_exception_gives_exit_code_1_and_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("a\nb")

    monkeypatch.setattr("xpnet.host.versions.versions", broken)
    assert main(["doctor", "info"]) == 1
    assert capsys.readouterr().err == "xpnet: ZeroDivisionError: a b\n"


def test_closed_pipe_is_no_error() -> None:
    closed = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m xpnet.cli doctor info | true"],
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert closed.stderr == ""


def test_without_standard_streams() -> None:
    """Some service managers close them: a file that is opened must not get their numbers."""
    probe = (
        "import os, sys\n"
        "from xpnet.cli import main\n"
        "code = main(['doctor', '--json'])\n"
        "sys.exit(code or os.open('/dev/null', os.O_RDONLY) <= 2)\n"
    )
    closed = subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" <&- >&- 2>&-', sys.executable, probe], cwd=ROOT, check=False
    )
    assert closed.returncode == 0


def test_wrong_port_is_reported(xpnet) -> None:
    assert "127.0.0.1:99999 cannot be listened on" in one_line(xpnet("serve", "--http-port", 99999))


def test_setup_script_refuses_unknown_options() -> None:
    script = str(ROOT / "scripts" / "setup.sh")
    wrong = subprocess.run([script, "--nosuch"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "setup: unknown option '--nosuch'" in wrong.stderr
    helped = subprocess.run([script, "--help"], capture_output=True, text=True, check=True)
    assert "XPNET_TORCH_INDEX" in helped.stdout
