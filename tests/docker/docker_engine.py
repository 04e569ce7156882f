"""A Docker engine and Docker Compose, as the proof of the images calls them.

All that it makes bears one name, so that it can be found and removed, and nothing else is.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from xpnet.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "xpnet-proof"
PORTS = (8000, 8001, 8002)
VOLUME = f"{PROJECT}_data"
COMPOSE = Path(sys.executable).with_name("docker-compose")
SHORT_S, LONG_S = 120, 3600


class Failed(Exception):
    """What the project says of its images does not hold: what was found instead."""


Result = subprocess.CompletedProcess[str]


def call(command: list[str], timeout_s: float = SHORT_S, **more: Any) -> Result:
    """Runs a command to its end, output as text; Failed where it hangs."""
    try:
        kept = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
        return subprocess.run(command, text=True, check=False, timeout=timeout_s, **kept)
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{' '.join(command[:4])} ...: no end after {timeout_s:g} s") from error


def docker(*words: str, timeout_s: float = SHORT_S, **more: Any) -> Result:
    """`docker WORDS`, whatever comes of it."""
    return call(["docker", *words], timeout_s, **more)


def done(result: Result, code: int = 0) -> str:
    """What a command said, which had to end with `code`; Failed otherwise."""
    if result.returncode != code:
        said = last_line(result.stderr) or last_line(result.stdout)
        words = " ".join(result.args[:5])
        raise Failed(f"{words} ...: exit code {result.returncode}, expected {code}: {said}")
    return result.stdout.strip()


def last_line(text: str) -> str:
    """The last line that holds anything."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def compose(profile: str, *words: str, timeout_s: float = SHORT_S) -> Result:
    """`docker compose --profile PROFILE WORDS` on compose.yaml as it is, under our name."""
    file = ["--file", str(ROOT / "compose.yaml"), "--project-name", PROJECT]
    return call([str(COMPOSE), *file, "--profile", profile, *words], timeout_s)


def inspected(name: str) -> dict[str, Any]:
    """What the engine knows of a container or an image."""
    return dict(json.loads(done(docker("inspect", name)))[0])


def image_id(tag: str) -> str:
    """The image that has this tag; empty where none has."""
    return docker("image", "inspect", "--format", "{{.Id}}", tag).stdout.strip()


def check_engine(needed_gb: float) -> str:
    """The engine's version; UserError where none answers, or something it needs is lacking."""
    if not shutil.which("docker"):
        raise UserError("no docker command on PATH: expected a Docker engine, 20.10 or newer")
    asked = docker("version", "--format", "{{.Server.Version}}")
    if asked.returncode:
        raise UserError(f"no Docker engine answers: {last_line(asked.stderr)}")
    if not COMPOSE.is_file():
        raise UserError(f"needs {COMPOSE}: scripts/setup.sh --dev installs it")
    folder = Path(docker("info", "--format", "{{.DockerRootDir}}").stdout.strip())
    if folder.is_dir():  # it is elsewhere where the engine runs on another machine
        check_space(folder, needed_gb)
    for port in PORTS:
        with socket.socket() as probe:
            if not probe.connect_ex(("127.0.0.1", port)):
                raise UserError(f"127.0.0.1:{port} is taken: the profile cpu-split needs it")
    return asked.stdout.strip()


def check_space(folder: Path, needed_gb: float) -> None:
    """Raises UserError where the folder's disk has less left."""
    free = shutil.disk_usage(folder).free / 1e9
    if free < needed_gb:
        raise UserError(
            f"{folder}: {free:.1f} GB are free on its disk, expected {needed_gb:g} or more"
        )


def wait_for(what: str, holds: Any, limit_s: float = SHORT_S) -> float:
    """Asks twice a second until `holds()`; the seconds that it took. Failed where it never does."""
    start = time.monotonic()
    while not holds():
        if time.monotonic() - start > limit_s:
            raise Failed(f"{what}: not after {limit_s:g} s")
        time.sleep(0.5)
    return time.monotonic() - start


def wait_until_healthy(container: str) -> float:
    """Seconds until the engine calls the container healthy."""

    def healthy() -> bool:
        return bool(inspected(container)["State"]["Health"]["Status"] == "healthy")

    return wait_for(f"{container} healthy", healthy)


def remove_everything() -> None:
    """The containers, networks and volumes of a proof, of one that was broken off, too."""
    compose("*", "down", "--volumes", "--remove-orphans", "--timeout", "10")
    left = docker("ps", "--all", "--quiet", "--filter", f"name=^{PROJECT}").stdout.split()
    if left:
        docker("rm", "--force", "--volumes", *left)


def leftovers() -> list[str]:
    """What is still there under our name."""
    kinds = (("ps", "--all"), ("network", "ls"), ("volume", "ls"), ("images",))
    form = {"ps": "{{.Names}}", "images": "{{.Repository}}"}
    found = []
    for words in kinds:
        said = docker(*words, "--format", form.get(words[0], "{{.Name}}")).stdout.split()
        found += [name for name in said if name.startswith(PROJECT)]
    return found
