"""The proof of the images: what it refuses, reads and restores. No engine is asked.

docker is a stand-in here: a shell script on PATH that answers as the engine would.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.docker import docker_engine, image_checks, prove_images
from tests.docker.docker_engine import Failed
from tests.docker.empty_debian import CERTIFICATES, pip_settings
from xpnet.errors import UserError

NOTED = 'echo "docker: $*" >> "${0%/*}/asked"\n'


def stand_in(folder: Path, text: str) -> None:
    (folder / "docker").write_text(f"#!/bin/sh\n{text}\n")
    (folder / "docker").chmod(0o755)


def test_where_no_engine_answers(tmp_path: Path) -> None:
    """One line, exit code 2, and nothing was asked but the version."""
    command = [
        sys.executable,
        "-m",
        "tests.docker.prove_images",
        "--folder",
        str(tmp_path / "logs"),
    ]
    for text, expected in (
        ("", "no docker command on PATH: expected a Docker engine, 20.10 or newer"),
        ('echo "Cannot connect to the Docker daemon" >&2; exit 1',
         "no Docker engine answers: Cannot connect to the Docker daemon"),
        ('echo "permission denied: /var/run/docker.sock" >&2; exit 1',
         "no Docker engine answers: permission denied: /var/run/docker.sock"),
    ):  # fmt: skip
        if text:
            stand_in(tmp_path, NOTED + text)
        result = subprocess.run(
            command, cwd=ROOT, env=os.environ | {"PATH": f"{tmp_path}:/nowhere"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (result.returncode, result.stderr) == (2, f"prove_images: {expected}\n")
    asked = (tmp_path / "asked").read_text().replace(f"{tmp_path}/", "")
    assert set(asked.splitlines()) == {"docker: version --format {{.Server.Version}}"}
    assert not (tmp_path / "logs").exists()


def test_no_space_and_a_port_that_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        UserError, match=rf"{tmp_path}: .* GB are free on its disk, expected 1e\+09"
    ):
        docker_engine.check_space(tmp_path, 1e9)
    stand_in(tmp_path, f'[ "$1" = info ] && echo {tmp_path} || echo 20.10.24')
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(docker_engine, "PORTS", (port,))
        with pytest.raises(UserError, match=f"127.0.0.1:{port} is taken"):
            docker_engine.check_engine(0.0)
    assert docker_engine.check_engine(0.0) == "20.10.24"


def test_of_pip_only_the_way_to_an_index_is_taken() -> None:
    listing = (
        ":env:.index-url='https://mirror.example/simple'\n"
        "global.cert='/etc/ssl/certs/ours.crt'\n"
        "global.extra-index-url='file:///srv/wheels\\nhttps://more.example/simple'\n"
        "global.find-links='/srv/wheels'\n"
        "global.index-url='https://older.example/simple'\n"
        "global.trusted-host='mirror.example'\n"
    )
    assert pip_settings(listing) == (
        "[global]\nextra-index-url = https://more.example/simple\n"
        "index-url = https://mirror.example/simple\ntrusted-host = mirror.example\n"
        f"cert = /{CERTIFICATES}\n"
    )


def test_a_claim_that_does_not_hold_stands_in_the_table() -> None:
    def broken() -> str:
        raise Failed("3 frames | expected 338")

    report = prove_images.Report()
    report.step("one", lambda: "fine")
    report.step("two", broken)
    report.step("three", lambda: "fine, too")
    assert report.failed == 1
    rows = [row.rsplit("|", 2)[0] for row in report.table().splitlines()[2:]]
    assert rows == ["| one | fine ", "| two | FAILED: 3 frames / expected 338 ",
                    "| three | fine, too "]  # fmt: skip


def test_what_a_graph_says() -> None:
    good = "cart-cpu-1  | /data/demo.mp4: 338 frames, 315 with a polyp\n"
    assert image_checks.told_frames(good) == "338 frames, 315 with a polyp"
    for bad in (good.replace("338", "337"), good.replace("315", "0"), "Exited\n"):
        with pytest.raises(Failed, match="expected 338 frames, with polyps: "):
            image_checks.told_frames(bad)


def test_folders_in_folders_are_named_once() -> None:
    listing = "/dev\n/dev/shm\n/data\n/data/clips\n/data/clips/old\n/database\n"
    assert image_checks.outermost(listing) == ["/dev", "/dev/shm", "/data", "/database"]


def test_the_base_is_that_of_the_dockerfile() -> None:
    assert prove_images.base_image().startswith("debian:bookworm-")


@pytest.mark.parametrize(("keep", "base"), [(False, "debian:x"), (False, ""), (True, "debian:x")])
def test_older_images_keep_their_names(
    monkeypatch: pytest.MonkeyPatch, keep: bool, base: str
) -> None:
    """What the user had under a name is there again; what was not ours stays."""
    held = {"xpnet:cpu": "older", "debian:x": "ours" if base else "theirs"}

    def docker(*words: str, **_: object) -> subprocess.CompletedProcess[str]:
        if words[0] == "rmi":
            del held[words[1]]
        elif words[0] == "tag":
            held[words[2]] = words[1]
        listed = "\n".join(tag for tag in held if words[0] == "images" and "proof" in tag)
        return subprocess.CompletedProcess(list(words), 0, listed, "")

    monkeypatch.setattr(prove_images, "docker", docker)
    monkeypatch.setattr(prove_images, "image_id", lambda tag: held.get(tag, ""))
    monkeypatch.setattr(prove_images, "remove_everything", lambda: None)
    with (
        pytest.raises(KeyboardInterrupt),
        prove_images.clean(["cpu", "test"], base, keep),
    ):
        held |= {"xpnet:cpu": "new", "xpnet:test": "new", f"{docker_engine.PROJECT}:cpu": "new"}
        raise KeyboardInterrupt
    kept = {"xpnet:cpu": "new", "xpnet:test": "new"} if keep else {"xpnet:cpu": "older"}
    assert held == kept | ({} if base else {"debian:x": "theirs"})
