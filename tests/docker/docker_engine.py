"""Docker and Docker Compose for the proofs of the images.

Every container, network, volume and image of a proof has a name that begins with PROJECT, so that
all of them, and nothing else, can be found and removed.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xpnet.errors import UserError
from xpnet.paths import ROOT

PROJECT = "xpnet-proof"
PORTS = (8000, 8001, 8002)
VOLUME = f"{PROJECT}_data"
COMPOSE_PROGRAM = Path(sys.executable).with_name("docker-compose")
TIMEOUT_S, LONG_TIMEOUT_S = 120, 3600


class CheckFailed(Exception):
    """A claim about the images is false; the message says what was found and expected."""


Result = subprocess.CompletedProcess[str]


def run_command(command: list[str], timeout_s: float = TIMEOUT_S, **options: Any) -> Result:
    """Run a command and return its result; stdout and stderr are captured as text by default.

    Args:
        command: The command.
        timeout_s: Longest time in seconds.
        **options: Options of `subprocess.run`.

    Raises:
        CheckFailed: The command did not end in time.
    """
    try:
        settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        return subprocess.run(command, text=True, check=False, timeout=timeout_s, **settings)
    except subprocess.TimeoutExpired as error:
        start = " ".join(command[:4])
        raise CheckFailed(f"{start} ...: did not end within {timeout_s:g} s") from error


def docker(*arguments: str, timeout_s: float = TIMEOUT_S, **options: Any) -> Result:
    """Run `docker ARGUMENTS`; see `run_command`."""
    return run_command(["docker", *arguments], timeout_s, **options)


def compose(profile: str, *arguments: str, timeout_s: float = TIMEOUT_S) -> Result:
    """Run `docker compose --profile PROFILE ARGUMENTS` on compose.yaml, as project PROJECT."""
    file = ["--file", str(ROOT / "compose.yaml"), "--project-name", PROJECT]
    command = [str(COMPOSE_PROGRAM), *file, "--profile", profile, *arguments]
    return run_command(command, timeout_s)


def checked_output(result: Result, code: int = 0) -> str:
    """Return the stdout of a command.

    Args:
        result: The result of the command.
        code: The expected exit code.

    Raises:
        CheckFailed: The command ended with another exit code.
    """
    if result.returncode != code:
        reason = last_line(result.stderr) or last_line(result.stdout)
        start = " ".join(result.args[:5])
        raise CheckFailed(f"{start} ...: exit code {result.returncode}, expected {code}: {reason}")
    return result.stdout.strip()


def last_line(text: str) -> str:
    """Return the last line that is not empty, or an empty string."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def inspect(name: str) -> dict[str, Any]:
    """Return the engine's description of a container or an image."""
    return dict(json.loads(checked_output(docker("inspect", name)))[0])


def image_id(tag: str) -> str:
    """Return the id of the image with this tag, or an empty string."""
    return docker("image", "inspect", "--format", "{{.Id}}", tag).stdout.strip()


def check_engine(needed_gb: float) -> str:
    """Check that the engine can run the proof, and return its version.

    Args:
        needed_gb: Free space in GB that the engine's disk must have.

    Raises:
        UserError: No engine answers, Compose is missing, or disk space or a port is not free.
    """
    if not shutil.which("docker"):
        raise UserError("docker is not installed: expected a Docker engine, 20.10 or newer")
    version = docker("version", "--format", "{{.Server.Version}}")
    if version.returncode:
        raise UserError(f"no Docker engine answers: {last_line(version.stderr)}")
    if not COMPOSE_PROGRAM.is_file():
        raise UserError(f"{COMPOSE_PROGRAM} is missing: scripts/setup.sh --dev installs it")
    folder = Path(docker("info", "--format", "{{.DockerRootDir}}").stdout.strip())
    if folder.is_dir():  # not on this machine if the engine runs on another one
        check_space(folder, needed_gb)
    for port in PORTS:
        with socket.socket() as probe:
            if not probe.connect_ex(("127.0.0.1", port)):
                raise UserError(f"127.0.0.1:{port} is in use: the profile cpu-split needs it")
    return version.stdout.strip()


def check_space(folder: Path, needed_gb: float) -> None:
    """Check the free disk space of a folder in GB. Raises UserError if it is too small."""
    free_gb = shutil.disk_usage(folder).free / 1e9
    if free_gb < needed_gb:
        raise UserError(
            f"{folder}: {free_gb:.1f} GB free on its disk, expected {needed_gb:g} or more"
        )


def wait_for(what: str, condition: Callable[[], bool], timeout_s: float = TIMEOUT_S) -> float:
    """Wait until a condition is true, and return how long it took in seconds.

    Args:
        what: The condition in words, for the error message.
        condition: Called twice a second.
        timeout_s: Longest wait in seconds.

    Raises:
        CheckFailed: The condition was not true in time.
    """
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > timeout_s:
            raise CheckFailed(f"{what}: not within {timeout_s:g} s")
        time.sleep(0.5)
    return time.monotonic() - start


def wait_until_healthy(container: str) -> float:
    """Wait until the engine reports a container as healthy; return the seconds that it took."""

    def is_healthy() -> bool:
        return bool(inspect(container)["State"]["Health"]["Status"] == "healthy")

    return wait_for(f"{container} healthy", is_healthy)


def remove_everything() -> None:
    """Remove containers, networks and volumes of this proof and of interrupted ones."""
    compose("*", "down", "--volumes", "--remove-orphans", "--timeout", "10")
    containers = docker("ps", "--all", "--quiet", "--filter", f"name=^{PROJECT}").stdout.split()
    if containers:
        docker("rm", "--force", "--volumes", *containers)


def find_leftovers() -> list[str]:
    """Return the names of all containers, networks, volumes and images of the proof."""
    listings = (("ps", "--all"), ("network", "ls"), ("volume", "ls"), ("images",))
    formats = {"ps": "{{.Names}}", "images": "{{.Repository}}"}
    found = []
    for words in listings:
        names = docker(*words, "--format", formats.get(words[0], "{{.Name}}")).stdout.split()
        found += [name for name in names if name.startswith(PROJECT)]
    return found
