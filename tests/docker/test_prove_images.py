"""The proof of the images: errors, parsers, report and cleanup, without a Docker engine.

A shell script on PATH replaces docker where a test needs its answers.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from deepstream.run_summary import format_summary
from tests.docker import docker_engine, image_checks, prove_images
from tests.docker.docker_engine import CheckFailed
from tests.docker.empty_debian import CERTIFICATES, select_pip_settings
from xpnet.errors import UserError
from xpnet.paths import ROOT

LOG_CALL = 'echo "docker: $*" >> "${0%/*}/calls"\n'


def write_fake_docker(folder: Path, text: str) -> None:
    (folder / "docker").write_text(f"#!/bin/sh\n{text}\n")
    (folder / "docker").chmod(0o755)


@pytest.mark.parametrize(
    ("docker", "message"),
    [
        ("", "docker is not installed: expected a Docker engine, 20.10 or newer"),
        (
            'echo "Cannot connect to the Docker daemon" >&2; exit 1',
            "no Docker engine answers: Cannot connect to the Docker daemon",
        ),
        (
            'echo "permission denied: /var/run/docker.sock" >&2; exit 1',
            "no Docker engine answers: permission denied: /var/run/docker.sock",
        ),
    ],
)
def test_missing_engine_gives_one_line_and_changes_nothing(
    tmp_path: Path, docker: str, message: str
) -> None:
    if docker:
        write_fake_docker(tmp_path, LOG_CALL + docker)
    logs = tmp_path / "logs"
    result = subprocess.run(
        [sys.executable, "-m", "tests.docker.prove_images", "--folder", str(logs)],
        cwd=ROOT, env=os.environ | {"PATH": f"{tmp_path}:/nowhere"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (2, f"prove_images: {message}\n")
    if docker:
        calls = (tmp_path / "calls").read_text().splitlines()
        assert calls == ["docker: version --format {{.Server.Version}}"]
    assert not logs.exists()


def test_full_disk_is_an_error(tmp_path: Path) -> None:
    message = rf"{tmp_path}: .* GB free on its disk, expected 1e\+09"
    with pytest.raises(UserError, match=message):
        docker_engine.check_space(tmp_path, 1e9)


def test_port_in_use_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_fake_docker(tmp_path, f'[ "$1" = info ] && echo {tmp_path} || echo 20.10.24')
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with socket.socket() as used:
        used.bind(("127.0.0.1", 0))
        used.listen()
        port = used.getsockname()[1]
        monkeypatch.setattr(docker_engine, "PORTS", (port,))
        with pytest.raises(UserError, match=f"127.0.0.1:{port} is in use"):
            docker_engine.check_engine(0.0)
    assert docker_engine.check_engine(0.0) == "20.10.24"


def test_only_pip_settings_of_an_index_are_copied() -> None:
    pip_config = (
        ":env:.index-url='https://mirror.example/simple'\n"
        "global.cert='/etc/ssl/certs/ours.crt'\n"
        "global.extra-index-url='file:///srv/wheels\\nhttps://more.example/simple'\n"
        "global.find-links='/srv/wheels'\n"
        "global.index-url='https://older.example/simple'\n"
        "global.trusted-host='mirror.example'\n"
    )
    assert select_pip_settings(pip_config) == (
        "[global]\nextra-index-url = https://more.example/simple\n"
        "index-url = https://mirror.example/simple\ntrusted-host = mirror.example\n"
        f"cert = /{CERTIFICATES}\n"
    )


def test_failed_step_is_in_the_table_and_does_not_stop_the_proof() -> None:
    def fail() -> str:
        raise CheckFailed("3 frames | expected 338")

    report = prove_images.Report()
    report.run_step("one", lambda: "fine")
    report.run_step("two", fail)
    report.run_step("three", lambda: "fine, too")
    assert report.failures == 1
    rows = [row.rsplit("|", 2)[0] for row in report.table().splitlines()[2:]]
    assert rows == ["| one | fine ", "| two | FAILED: 3 frames / expected 338 ",
                    "| three | fine, too "]  # fmt: skip


def graph_output(frames: int, frames_with_polyp: int) -> str:
    """Return what `xpnet run` prints at its end, as in the log of a container."""
    lines, failure = format_summary(
        {
            "output": "/data/demo.mp4",
            "frames": frames,
            "server_restarts": 0,
            "frames_with_polyp": frames_with_polyp,
            "fps": 25.9,
            "latency_ms": {"p50": 30, "p95": 40, "p99": 50},
            "ending": "complete",
            "reason": "",
            "inference_failure": "",
            "probe_error": "",
            "polyps_errors": 0,
        }
    )
    assert not failure
    return "".join(f"cart-cpu-1  | {line}\n" for line in lines)


def test_frames_and_rate_are_read_from_the_output_of_a_graph() -> None:
    output = graph_output(338, 315)
    assert image_checks.parse_frames(output) == "338 frames, 315 with a polyp"
    assert image_checks.parse_rate(output).startswith("25.9 ")


@pytest.mark.parametrize("output", [graph_output(337, 315), graph_output(338, 0), "Exited\n"])
def test_missing_frames_or_polyps_fail_the_check(output: str) -> None:
    with pytest.raises(CheckFailed, match="expected 338 frames, with polyps: "):
        image_checks.parse_frames(output)


def test_folders_inside_listed_folders_are_left_out() -> None:
    listing = "/dev\n/dev/shm\n/data\n/data/clips\n/data/clips/old\n/database\n"
    assert image_checks.outermost_folders(listing) == ["/dev", "/dev/shm", "/data", "/database"]


def test_base_image_is_read_from_the_dockerfile() -> None:
    assert prove_images.base_image().startswith("debian:bookworm-")


@pytest.mark.parametrize(("keep", "base"), [(False, "debian:x"), (False, ""), (True, "debian:x")])
def test_cleanup_restores_the_tags_of_the_user(
    monkeypatch: pytest.MonkeyPatch, keep: bool, base: str
) -> None:
    images = {"xpnet:cpu": "older", "debian:x": "ours" if base else "theirs"}

    def fake_docker(*arguments: str, **_: object) -> subprocess.CompletedProcess[str]:
        if arguments[0] == "rmi":
            del images[arguments[1]]
        elif arguments[0] == "tag":
            images[arguments[2]] = arguments[1]
        listed = "\n".join(tag for tag in images if arguments[0] == "images" and "proof" in tag)
        return subprocess.CompletedProcess(list(arguments), 0, listed, "")

    monkeypatch.setattr(prove_images, "docker", fake_docker)
    monkeypatch.setattr(prove_images, "image_id", lambda tag: images.get(tag, ""))
    monkeypatch.setattr(prove_images, "remove_everything", lambda: None)
    with (
        pytest.raises(KeyboardInterrupt),
        prove_images.cleanup(["cpu", "test"], base, keep),
    ):
        images |= {"xpnet:cpu": "new", "xpnet:test": "new", f"{docker_engine.PROJECT}:cpu": "new"}
        raise KeyboardInterrupt
    kept = {"xpnet:cpu": "new", "xpnet:test": "new"} if keep else {"xpnet:cpu": "older"}
    assert images == kept | ({} if base else {"debian:x": "theirs"})
