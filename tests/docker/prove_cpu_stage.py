"""Builds and runs the Dockerfile's stage `cpu` without Docker: in a chroot of an empty Debian.

    sudo .venv/bin/python -m tests.docker.prove_cpu_stage [FOLDER]

Every instruction of the stage is read from the Dockerfile and carried out there, one by one. Then
its command runs as compose.yaml has it run: as the image's user, on a read-only root file system,
in memory and volumes of its own, without a network; and `xpnet serve` with its health check.
Needs root, debootstrap, util-linux and iproute2. Of this machine only the way to the packages
comes in (tests/docker/empty_debian.py), and goes again. Where an engine runs, tests/docker/prove_images.py
proves more.
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

from tests.docker.empty_debian import check_debootstrap, empty_debian, proxies, take_settings_away
from xpnet.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("unshare", "nsenter", "ip", "git")
PATHS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
READY_S = 60


@dataclass
class Image:
    """What the instructions leave behind: the file system and the settings of a container."""

    root: Path
    env: dict[str, str] = field(default_factory=lambda: {"PATH": PATHS})
    workdir: str = "/"
    user: str = "0:0"
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)
    stop: int = signal.SIGTERM


def main() -> int:
    """Debian, the instructions, the command, the server; ends with a table for the docs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "build" / "cpu-stage")
    folder = parser.parse_args().folder.absolute()
    missing = [program for program in NEEDED if not shutil.which(program)]
    if missing:
        return fail(f"needs {', '.join(missing)}")
    if (folder / "root").exists():
        return fail(f"{folder}/root exists: give another folder, or remove it")
    try:
        return prove(folder)
    except UserError as error:
        return fail(str(error))


def prove(folder: Path) -> int:
    """All of it; raises UserError where no empty Debian can be made."""
    check_debootstrap()
    image, rows = Image(folder / "root"), []
    steps = [("FROM", "debootstrap --variant=minbase"), *stage_instructions("cpu")]
    for number, (instruction, words) in enumerate(steps, 1):
        start = time.monotonic()
        print(f"[{number}/{len(steps)}] {instruction} {words}", flush=True)
        if instruction == "FROM":
            empty_debian(image.root)
        else:
            carry_out(image, instruction, words)
        rows.append((f"{instruction} {words}", time.monotonic() - start))
    take_settings_away(image.root)
    proofs = (
        ("root in it", run_intruder),
        ("its command", run_command),
        ("`serve`, HEALTHCHECK, STOPSIGNAL", run_server),
    )
    for what, proof in proofs:
        start = time.monotonic()
        print(f"{what}: read-only, without a network", flush=True)
        said = proof(image, folder)
        rows.append((f"{what}: {said}", time.monotonic() - start))
    print("\n| instruction | seconds |\n|---|---|")
    print("\n".join(f"| {words.replace('|', '/')} | {seconds:.1f} |" for words, seconds in rows))
    return 0


def fail(line: str) -> int:
    """One line to stderr; the exit code."""
    print(f"prove_cpu_stage: {line}", file=sys.stderr)
    return 2


def stage_instructions(stage: str) -> Iterator[tuple[str, str]]:
    """The instructions of a stage and of those that it stands on, in order, without FROM."""
    stages: dict[str, list[tuple[str, str]]] = {}
    for row in DockerfileParser(fileobj=(ROOT / "Dockerfile").open("rb")).structure:
        instruction, words = row["instruction"], row["value"]
        if instruction == "FROM":
            base, _, name = words.split()
            stages[name] = current = list(stages.get(base, []))
        elif instruction not in {"COMMENT", "ARG"}:
            current.append((instruction, words))
    yield from stages[stage]


def carry_out(image: Image, instruction: str, words: str) -> None:
    """One instruction of the Dockerfile."""
    if instruction == "RUN":
        inside(image, ["/bin/sh", "-c", words])
    elif instruction == "COPY":
        *sources, target = words.split()
        copy(sources, image.root / image.workdir.lstrip("/") / target)
    elif instruction == "ENV":
        for pair in shlex.split(words):
            name, _, value = pair.partition("=")
            image.env[name] = value.replace("$PATH", image.env["PATH"])
    elif instruction == "WORKDIR":
        image.workdir = words
        (image.root / words.lstrip("/")).mkdir(parents=True, exist_ok=True)
    elif instruction == "USER":
        image.user = words
    elif instruction == "HEALTHCHECK":
        image.health = json.loads(words.partition(" CMD ")[2])
    elif instruction == "STOPSIGNAL":
        image.stop = signal.Signals[words]
    elif instruction == "ENTRYPOINT":
        image.entrypoint = json.loads(words)
    elif instruction == "CMD":
        image.command = json.loads(words)
    elif instruction not in {"VOLUME", "EXPOSE"}:
        raise SystemExit(fail(f"{instruction}: not one of the instructions that this knows"))


def copy(sources: list[str], target: Path) -> None:
    """COPY: of the context what git holds, which is what .dockerignore leaves (a test compares)."""
    listing = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    held = subprocess.run(listing, check=True, capture_output=True, text=True).stdout.splitlines()
    for source in sources:
        for name in held if source == "." else [source]:
            to = target / (name if source == "." else Path(name).name)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to, follow_symlinks=False)


def inside(image: Image, command: list[str]) -> None:
    """Runs one command in the image, with /proc, devices and this machine's way to packages."""
    env = {**proxies(), **image.env}
    call = entering(image, ["--mount"], mounts(image.root, {}), env, command)
    result = subprocess.run(call, check=False)
    if result.returncode:
        raise SystemExit(fail(f"{shlex.join(command)}: exit code {result.returncode}"))


def mounts(root: Path, more: dict[str, str]) -> str:
    """Shell lines that make /proc, /dev and `more` (a path to its tmpfs options or folder)."""
    lines = [f"mount -t proc proc {root}/proc", f"mount -t tmpfs -o mode=755 dev {root}/dev"]
    for name in DEVICES:
        lines += [f"touch {root}/dev/{name}", f"mount --bind /dev/{name} {root}/dev/{name}"]
    lines += [f"mkdir {root}/dev/shm", f"mount -t tmpfs shm {root}/dev/shm"]
    lines += [f"ln -s /proc/self/fd {root}/dev/fd"]
    for path, what in more.items():
        kind = f"--bind {what}" if what.startswith("/") else f"-t tmpfs -o {what} tmp"
        lines.append(f"mount {kind} {root}{path}")
    return "\n".join(lines)


def entering(
    image: Image, spaces: list[str], before: str, env: dict[str, str], command: list[str]
) -> list[str]:
    """The call that runs a command in the image, in namespaces of its own, which end with it."""
    settings = [f"{name}={value}" for name, value in env.items()]
    in_folder = ["/bin/sh", "-c", 'cd "$0" && exec "$@"', image.workdir, *command]
    chroot = ["chroot", f"--userspec={image.user}", str(image.root), "/usr/bin/env", "-i"]
    return ["unshare", *spaces, "/bin/sh", "-ec", f'{before}\nexec "$@"', "sh",
            *chroot, *settings, *in_folder]  # fmt: skip


def container(image: Image, folder: Path, command: list[str]) -> list[str]:
    """The call that runs a command as compose.yaml's service `cart-cpu` does."""
    composed = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    service = composed["services"]["cart-cpu"]
    memory = dict(entry.split(":", 1) for entry in service["tmpfs"])
    data = folder / "data"
    data.mkdir(exist_ok=True)
    os.chown(data, *map(int, image.user.split(":")))
    # Read-only after the folders of the mounts, which are there already, and before the command.
    root = image.root
    before = [f"mount --bind {root} {root}"]
    before += [f"mount -o remount,bind{',ro' if service['read_only'] else ''} {root}"]
    before += ["ip link set lo up", mounts(root, {**memory, "/data": str(data)})]
    spaces = ["--mount", "--pid", "--net", "--ipc", "--fork", "--kill-child"]
    return entering(image, spaces, "\n".join(before), image.env, [*image.entrypoint, *command])


def run_intruder(image: Image, folder: Path) -> str:
    """Even root may write nowhere but into memory and volumes: what is written is listed."""
    places = ("/", "/etc", "/usr/bin", image.workdir, f"{image.workdir}/xpnet", "/tmp", "/data")
    tries = "\n".join(f'touch {place}/intruder 2> /dev/null && echo "{place}"' for place in places)
    root = replace(image, user="0:0", entrypoint=[])
    call = container(root, folder, ["/bin/sh", "-c", f"{tries}\ntrue"])
    result = subprocess.run(call, capture_output=True, text=True, check=True)
    if result.stdout.split() != ["/tmp", "/data"]:
        raise SystemExit(fail(f"root could write to {result.stdout.split()}"))
    return "could write to /tmp and /data alone"


def run_command(image: Image, folder: Path) -> str:
    """The image's own command: masks on the demo clip."""
    result = subprocess.run(
        container(image, folder, image.command), capture_output=True, text=True, check=False
    )
    print(result.stdout + result.stderr)
    if result.returncode or not (folder / "data/demo.mp4").stat().st_size:
        raise SystemExit(fail(f"the command ended with exit code {result.returncode}"))
    return "; ".join(result.stdout.strip().splitlines())


def run_server(image: Image, folder: Path) -> str:
    """`serve`, until the image's health check says that it is ready; and stopped as Docker does."""
    call = container(image, folder, ["serve"])
    # Of a shell's background job it would inherit that SIGINT is ignored.
    default = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(call, stdout=subprocess.DEVNULL, preexec_fn=default)
    try:
        start = time.monotonic()
        for _ in range(READY_S):
            time.sleep(1)
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            enter = ["nsenter", f"--target={children[0]}", "--mount", "--pid", "--net", "chroot",
                     str(image.root), "/usr/bin/env", "-i", f"PATH={image.env['PATH']}", "/bin/sh",
                     "-c", 'cd "$0" && exec "$@"', image.workdir, *image.health]  # fmt: skip
            if not subprocess.run(enter, capture_output=True, check=False).returncode:
                break
        else:
            raise SystemExit(fail(f"not healthy after {READY_S} s"))
        ready = time.monotonic() - start
        time.sleep(1)  # xpnet looks ten times a second whether Triton is ready
        os.kill(int(children[0]), image.stop)
        code = process.wait(READY_S)
    finally:
        process.kill()
        process.wait()
    if code:
        raise SystemExit(
            fail(f"ended with exit code {code} after {signal.Signals(image.stop).name}")
        )
    return f"healthy after {ready:.0f} s; ended in order"


if __name__ == "__main__":
    sys.exit(main())
