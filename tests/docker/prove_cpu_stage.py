"""Build and run stage `cpu` of the Dockerfile without Docker, in a chroot of an empty Debian.

    sudo .venv/bin/python -m tests.docker.prove_cpu_stage [FOLDER]

1. Make an empty Debian with debootstrap, and copy this machine's package settings into it.
2. Execute each instruction of the stage, as read from the Dockerfile.
3. Remove the package settings.
4. Run the stage's command as compose.yaml does: as the image's user, on a read-only root file
   system, with its memory file systems and volume, without a network. Then run `xpnet serve` with
   the image's health check.
5. Print a table.

Needs root, debootstrap, util-linux and iproute2. With a Docker engine, use
tests/docker/prove_images.py, which checks more.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import yaml
from dockerfile_parse import DockerfileParser

from tests.docker.empty_debian import (
    check_debootstrap,
    make_empty_debian,
    proxy_variables,
    remove_settings,
)
from xpnet.errors import UserError
from xpnet.paths import ROOT

PROGRAMS = ("unshare", "nsenter", "ip", "git")
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
READY_TIMEOUT_S = 60


@dataclass
class Image:
    """The result of the instructions: a root file system and the settings of a container.

    Attributes:
        root: Folder of the root file system.
        env: Environment variables.
        workdir: Working directory in the image.
        user: UID:GID.
        entrypoint: First words of the command line.
        command: Default arguments.
        health: Command of the health check.
        stop: Signal that stops the container.
    """

    root: Path
    env: dict[str, str] = field(default_factory=lambda: {"PATH": DEFAULT_PATH})
    workdir: str = "/"
    user: str = "0:0"
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)
    stop: int = signal.SIGTERM


def main() -> int:
    """Parse the options, run the proof, return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "build" / "cpu-stage")
    folder = parser.parse_args().folder.absolute()
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    if missing:
        return fail(f"needs {', '.join(missing)}")
    if (folder / "root").exists():
        return fail(f"{folder}/root exists: give another folder, or remove it")
    try:
        return prove(folder)
    except UserError as error:
        return fail(str(error))


def prove(folder: Path) -> int:
    """Run all steps, print the table and return the exit code.

    Args:
        folder: Folder for the root file system and the volume.

    Raises:
        UserError: An empty Debian cannot be made on this machine.
    """
    check_debootstrap()
    image, rows = Image(folder / "root"), []
    instructions = [("FROM", "debootstrap --variant=minbase"), *stage_instructions("cpu")]
    for number, (instruction, value) in enumerate(instructions, 1):
        start = time.monotonic()
        print(f"[{number}/{len(instructions)}] {instruction} {value}", flush=True)
        if instruction == "FROM":
            make_empty_debian(image.root)
        else:
            execute_instruction(image, instruction, value)
        rows.append((f"{instruction} {value}", time.monotonic() - start))
    remove_settings(image.root)
    checks = (
        ("writes as root", check_root_cannot_write),
        ("its command", check_command),
        ("`serve`, HEALTHCHECK, STOPSIGNAL", check_server),
    )
    for name, check in checks:
        start = time.monotonic()
        print(f"{name}: read-only, without a network", flush=True)
        found = check(image, folder)
        rows.append((f"{name}: {found}", time.monotonic() - start))
    print("\n| instruction | seconds |\n|---|---|")
    print("\n".join(f"| {text.replace('|', '/')} | {seconds:.1f} |" for text, seconds in rows))
    return 0


def fail(message: str) -> int:
    """Print one error line and return the exit code 2."""
    print(f"prove_cpu_stage: {message}", file=sys.stderr)
    return 2


def stage_instructions(stage: str) -> Iterator[tuple[str, str]]:
    """Yield the instructions of a stage and of the stages that it is built on, without FROM.

    Args:
        stage: Name of a stage in the Dockerfile.

    Yields:
        The instruction, such as RUN, and its value.
    """
    stages: dict[str, list[tuple[str, str]]] = {}
    with (ROOT / "Dockerfile").open("rb") as file:
        rows = DockerfileParser(fileobj=file).structure
    for row in rows:
        instruction, value = row["instruction"], row["value"]
        if instruction == "FROM":
            base, _, name = value.split()
            stages[name] = current = list(stages.get(base, []))
        elif instruction not in {"COMMENT", "ARG"}:
            current.append((instruction, value))
    yield from stages[stage]


def execute_instruction(image: Image, instruction: str, value: str) -> None:
    """Execute one instruction of the Dockerfile.

    Args:
        image: The image, which is changed.
        instruction: The instruction, such as RUN.
        value: Its value.
    """
    if instruction == "RUN":
        run_in_image(image, ["/bin/sh", "-c", value])
    elif instruction == "COPY":
        *sources, target = value.split()
        copy_sources(sources, image.root / image.workdir.lstrip("/") / target)
    elif instruction == "ENV":
        for pair in shlex.split(value):
            name, _, text = pair.partition("=")
            image.env[name] = text.replace("$PATH", image.env["PATH"])
    elif instruction == "WORKDIR":
        image.workdir = value
        (image.root / value.lstrip("/")).mkdir(parents=True, exist_ok=True)
    elif instruction == "USER":
        image.user = value
    elif instruction == "HEALTHCHECK":
        image.health = json.loads(value.partition(" CMD ")[2])
    elif instruction == "STOPSIGNAL":
        image.stop = signal.Signals[value]
    elif instruction == "ENTRYPOINT":
        image.entrypoint = json.loads(value)
    elif instruction == "CMD":
        image.command = json.loads(value)
    elif instruction not in {"VOLUME", "EXPOSE"}:
        raise SystemExit(fail(f"{instruction}: this instruction is not supported"))


def copy_sources(sources: list[str], target: Path) -> None:
    """Copy files as COPY does. The context is what git tracks; a test compares .dockerignore.

    Args:
        sources: Files in the repository, or `.`.
        target: Folder in the root file system.
    """
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    for source in sources:
        for name in listing.splitlines() if source == "." else [source]:
            copy = target / (name if source == "." else Path(name).name)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy, follow_symlinks=False)


def run_in_image(image: Image, command: list[str]) -> None:
    """Run a command of RUN in the image, with /proc, devices and proxies.

    Args:
        image: The image.
        command: The command.
    """
    env = {**proxy_variables(), **image.env}
    call = chroot_command(image, ["--mount"], mount_script(image.root, {}), env, command)
    result = subprocess.run(call, check=False)
    if result.returncode:
        raise SystemExit(fail(f"{shlex.join(command)}: exit code {result.returncode}"))


def mount_script(root: Path, mounts: dict[str, str]) -> str:
    """Return shell commands that mount /proc, /dev and others in a root file system.

    Args:
        root: Folder of the root file system.
        mounts: Options of a tmpfs, or an absolute folder to bind, by path in the image.
    """
    quoted = shlex.quote(str(root))
    lines = [f"mount -t proc proc {quoted}/proc", f"mount -t tmpfs -o mode=755 dev {quoted}/dev"]
    for name in DEVICES:
        lines += [f"touch {quoted}/dev/{name}", f"mount --bind /dev/{name} {quoted}/dev/{name}"]
    lines += [f"mkdir {quoted}/dev/shm", f"mount -t tmpfs shm {quoted}/dev/shm"]
    lines += [f"ln -s /proc/self/fd {quoted}/dev/fd"]
    for path, source in mounts.items():
        memory = ["-t", "tmpfs", "-o", source, "tmp"]
        what = ["--bind", source] if source.startswith("/") else memory
        lines.append(shlex.join(["mount", *what, f"{root}{path}"]))
    return "\n".join(lines)


def chroot_command(
    image: Image, namespaces: list[str], before: str, env: dict[str, str], command: list[str]
) -> list[str]:
    """Return a command that runs another one in the image, in namespaces that end with it.

    Args:
        image: The image.
        namespaces: Options of unshare.
        before: Shell commands that run in the namespaces before chroot.
        env: Environment variables of the command.
        command: The command in the image.
    """
    variables = [f"{name}={value}" for name, value in env.items()]
    in_workdir = ["/bin/sh", "-c", 'cd "$0" && exec "$@"', image.workdir, *command]
    chroot = ["chroot", f"--userspec={image.user}", str(image.root), "/usr/bin/env", "-i"]
    return ["unshare", *namespaces, "/bin/sh", "-ec", f'{before}\nexec "$@"', "sh",
            *chroot, *variables, *in_workdir]  # fmt: skip


def container_command(image: Image, folder: Path, arguments: list[str]) -> list[str]:
    """Return a command that runs the image as the service `cart-cpu` of compose.yaml.

    Args:
        image: The image.
        folder: Folder that gets the volume `data`.
        arguments: Arguments of the entry point.
    """
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    service = compose["services"]["cart-cpu"]
    memory = dict(entry.split(":", 1) for entry in service["tmpfs"])
    data = folder / "data"
    data.mkdir(exist_ok=True)
    os.chown(data, *map(int, image.user.split(":")))
    # The root is made read-only before the mounts, whose folders exist already.
    root = shlex.quote(str(image.root))
    before = [f"mount --bind {root} {root}"]
    before += [f"mount -o remount,bind{',ro' if service['read_only'] else ''} {root}"]
    before += ["ip link set lo up", mount_script(image.root, {**memory, "/data": str(data)})]
    namespaces = ["--mount", "--pid", "--net", "--ipc", "--fork", "--kill-child"]
    command = [*image.entrypoint, *arguments]
    return chroot_command(image, namespaces, "\n".join(before), image.env, command)


def check_root_cannot_write(image: Image, folder: Path) -> str:
    """Check that even root can write only to memory and to the volume.

    Args:
        image: The image.
        folder: Folder of the proof.
    """
    places = ("/", "/etc", "/usr/bin", image.workdir, f"{image.workdir}/xpnet", "/tmp", "/data")
    writes = "\n".join(f'touch {place}/file 2> /dev/null && echo "{place}"' for place in places)
    root = replace(image, user="0:0", entrypoint=[])
    call = container_command(root, folder, ["/bin/sh", "-c", f"{writes}\ntrue"])
    result = subprocess.run(call, capture_output=True, text=True, check=True)
    if result.stdout.split() != ["/tmp", "/data"]:
        raise SystemExit(fail(f"root could write to {result.stdout.split()}"))
    return "could write only to /tmp and /data"


def check_command(image: Image, folder: Path) -> str:
    """Run the image's command, which draws masks on the demo clip.

    Args:
        image: The image.
        folder: Folder of the proof.
    """
    call = container_command(image, folder, image.command)
    result = subprocess.run(call, capture_output=True, text=True, check=False)
    print(result.stdout + result.stderr)
    if result.returncode or not (folder / "data/demo.mp4").stat().st_size:
        raise SystemExit(fail(f"the command ended with exit code {result.returncode}"))
    return "; ".join(result.stdout.strip().splitlines())


def check_server(image: Image, folder: Path) -> str:
    """Run `xpnet serve` until the health check passes, then stop it as Docker does.

    Args:
        image: The image.
        folder: Folder of the proof.
    """
    call = container_command(image, folder, ["serve"])
    # A background job of a shell inherits that SIGINT is ignored.
    reset_sigint = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(call, stdout=subprocess.DEVNULL, preexec_fn=reset_sigint)
    try:
        start = time.monotonic()
        for _ in range(READY_TIMEOUT_S):
            time.sleep(1)
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            health = ["nsenter", f"--target={children[0]}", "--mount", "--pid", "--net", "chroot",
                      str(image.root), "/usr/bin/env", "-i", f"PATH={image.env['PATH']}",
                      "/bin/sh", "-c", 'cd "$0" && exec "$@"', image.workdir,
                      *image.health]  # fmt: skip
            if not subprocess.run(health, capture_output=True, check=False).returncode:
                break
        else:
            raise SystemExit(fail(f"not healthy after {READY_TIMEOUT_S} s"))
        seconds = time.monotonic() - start
        time.sleep(1)  # xpnet checks ten times a second whether Triton is ready
        os.kill(int(children[0]), image.stop)
        code = process.wait(READY_TIMEOUT_S)
    finally:
        process.kill()
        process.wait()
    if code:
        raise SystemExit(fail(f"exit code {code} after {signal.Signals(image.stop).name}"))
    return f"healthy after {seconds:.0f} s; exit code 0"


if __name__ == "__main__":
    sys.exit(main())
