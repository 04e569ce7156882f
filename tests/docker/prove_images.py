"""Builds the Dockerfile's stages with Docker and checks what docs/containers.md says of them.

    sudo .venv/bin/python -m tests.docker.prove_images [--stages cpu test train] [--suite] [--keep]

For machines whose Docker reaches no registry, too: where the engine lacks the base image, an empty
Debian of debootstrap takes its place (root alone may make one), with this machine's way to the
packages in it, of which a last layer frees what runs. Then compose.yaml runs as it is, and the
engine and the kernel are asked. It ends with a table for the docs; exit code 1 where a claim does
not hold, 2 where it cannot begin. It leaves nothing behind but its log and, with --keep, images.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from dockerfile_parse import DockerfileParser

from tests.docker import empty_debian
from tests.docker.docker_engine import (  # fmt: skip
    COMPOSE,
    LONG_S,
    PROJECT,
    ROOT,
    Failed,
    call,
    check_engine,
    check_space,
    docker,
    done,
    image_id,
    inspected,
    last_line,
    leftovers,
    remove_everything,
)
from tests.docker.image_checks import CHECKS
from xpnet.errors import UserError

GB = {"cpu": 4.0, "test": 9.0, "train": 9.0}
"""What a stage may take on the engine's disk, with what lies below it."""
FOLDER_GB = 1.0
OURS = 2
"""Layers that an edit of our code may cost: the code, and its installation."""
USER = "10001:10001"


@dataclass
class Report:
    """Rows of the table: what was done or claimed, what came of it, how long it took."""

    rows: list[tuple[str, str, float]] = field(default_factory=list)
    failed: int = 0

    def step(self, what: str, work: Callable[[], str]) -> None:
        """Does one thing; a claim that does not hold stands in its row, and the next is tried."""
        print(f"{what} ...", flush=True)
        start = time.monotonic()
        try:
            said = work()
        except Failed as failure:
            self.failed += 1
            said = f"FAILED: {failure}"
        self.rows.append((what, said, time.monotonic() - start))
        print(f"    {said}", flush=True)

    def table(self) -> str:
        """For the docs."""
        lines = [f"| {what} | {said.replace('|', '/')} | {s:.1f} |" for what, said, s in self.rows]
        return "\n".join(["| what | what came of it | seconds |", "|---|---|---|", *lines])


def main() -> int:
    """Refuses, or proves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stages", nargs="+", choices=list(GB), default=["cpu", "test"])
    parser.add_argument("--suite", action="store_true", help="run all tests in stage test")
    parser.add_argument("--keep", action="store_true", help="keep the images xpnet:STAGE")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "images", help="for logs")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # it cleans up as on Ctrl-C
    try:
        return prove(args)
    except UserError as error:
        print(f"prove_images: {error}", file=sys.stderr)
        return 2


def prove(args: argparse.Namespace) -> int:
    """Everything, and the table. Raises UserError where it cannot begin."""
    stages = [stage for stage in GB if stage == "cpu" or stage in args.stages]
    version = check_engine(sum(GB[stage] for stage in stages))
    base, report = base_image(), Report()
    substitute = not image_id(base)
    args.folder.mkdir(parents=True, exist_ok=True)
    if substitute:
        empty_debian.check_debootstrap()
        check_space(args.folder, FOLDER_GB)
    with clean(stages, base if substitute else "", args.keep):
        if substitute:
            report.step(f"`{base}`", partial(import_debian, args.folder, base))
        for stage in stages:
            report.step(f"`docker build --target {stage}`", partial(built, args.folder, stage))
        if not report.failed:  # nothing can be asked of what is not there
            checks(report, stages, substitute, args.suite)
            report.step("the same after an edit of one .py file", partial(edited, args.folder))
    report.step("what is left of it", nothing_left)
    print(f"\nDocker {version}, Compose {last_line(call([str(COMPOSE), 'version']).stdout)}")
    print(report.table())
    return 1 if report.failed else 0


def checks(report: Report, stages: list[str], substitute: bool, all_tests: bool) -> None:
    """What runs of the built stages."""
    for stage in stages:
        tag_for_use(stage, settings_are_in=substitute)
    for what, check in CHECKS:
        report.step(what, check)
    if "test" in stages:
        report.step("`docker run xpnet:test`", suite if all_tests else collected)
    if "train" in stages:
        report.step("`docker run xpnet:train` without a GPU", train)


def base_image() -> str:
    """The image from which stage `base` of the Dockerfile starts."""
    with (ROOT / "Dockerfile").open("rb") as file:
        rows = DockerfileParser(fileobj=file).structure
    return next(row["value"].split()[0] for row in rows if row["instruction"] == "FROM")


@contextmanager
def clean(stages: list[str], base: str, keep: bool) -> Iterator[None]:
    """Nothing of an older proof before, nothing of this one after; older tags come back."""
    remove_everything()
    tags = [f"xpnet:{stage}" for stage in stages]
    before = {tag: image_id(tag) for tag in tags}
    try:
        yield
    finally:
        print("cleaning up ...", flush=True)
        remove_everything()
        for tag in tags if not keep else []:
            if image_id(tag) != before[tag]:
                docker("rmi", tag)
                if before[tag]:
                    docker("tag", before[tag], tag)
        ours = docker("images", "--format", "{{.Repository}}:{{.Tag}}", PROJECT).stdout.split()
        for tag in [*ours, *([base] if base else [])]:
            docker("rmi", tag)


def import_debian(folder: Path, tag: str) -> str:
    """The base image, made of an empty Debian; its folder goes again."""
    root = folder / "root"
    shutil.rmtree(root, ignore_errors=True)
    try:
        empty_debian.empty_debian(root)
        empty_debian.take_settings_away(root, empty_debian.RESOLVER)  # Docker gives its own
        with subprocess.Popen(["tar", "-C", root, "-c", "."], stdout=subprocess.PIPE) as tar:
            done(docker("import", "--change", 'CMD ["bash"]', "-", tag, stdin=tar.stdout))
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return f"debootstrap {empty_debian.SUITE}, {size(tag)}"


def built(folder: Path, stage: str, context: Path = ROOT, tag: str = "") -> str:
    """Builds a stage; what it weighs. Its log stays in the folder."""
    given = list(empty_debian.proxies())
    if stage != "cpu" and "XPNET_TORCH_INDEX" in os.environ:
        given.append("XPNET_TORCH_INDEX")
    # The host's network: a bridge of Docker may lack the way to the packages.
    words = ["--network", "host", "--force-rm", "--target", stage]
    words += ["--tag", tag or f"{PROJECT}:{stage}", *(f"--build-arg={name}" for name in given)]
    log = folder / f"build-{stage}.log"
    with log.open("w", encoding="utf-8") as file:  # to be watched meanwhile
        result = docker("build", *words, str(context), timeout_s=LONG_S, stdout=file,
                        stderr=subprocess.STDOUT)  # fmt: skip
    if result.returncode:
        raise Failed(f"{log} ends with: {last_line(log.read_text(encoding='utf-8'))}")
    return size(tag or f"{PROJECT}:{stage}")


def size(tag: str) -> str:
    """Of an image, with what lies below it, and its layers."""
    image = inspected(tag)
    layers = len(image["RootFS"]["Layers"])
    return f"{image['Size'] / 1e9:.2f} GB, {layers} layer{'s' if layers > 1 else ''}"


def tag_for_use(stage: str, settings_are_in: bool) -> None:
    """xpnet:STAGE, as compose.yaml calls it, with nothing of this machine in what runs."""
    source, tag = f"{PROJECT}:{stage}", f"xpnet:{stage}"
    if not settings_are_in:
        done(docker("tag", source, tag))
        return
    names = (empty_debian.APT, empty_debian.PIP, empty_debian.CERTIFICATES)
    gone = " ".join(f"/{name}" for name in names)
    text = f"FROM {source}\nUSER 0:0\nRUN rm {gone}\nUSER {USER}\n"
    done(docker("build", "--tag", tag, "-", input=text))


def edited(folder: Path) -> str:
    """Builds stage cpu again, from a copy of the project with one edit; layers that are new."""
    copy = folder / "edited"
    shutil.rmtree(copy, ignore_errors=True)
    skipped = shutil.ignore_patterns(
        ".git", ".venv", ".triton*", "build", "__pycache__", ".*_cache"
    )
    try:
        shutil.copytree(ROOT, copy, symlinks=True, ignore=skipped)
        with (copy / "xpnet" / "cli.py").open("a") as file:
            file.write("# edited\n")
        built(folder, "cpu", copy, f"{PROJECT}:edited")
    finally:
        shutil.rmtree(copy, ignore_errors=True)
    before, after = (inspected(f"{PROJECT}:{tag}")["RootFS"]["Layers"] for tag in ("cpu", "edited"))
    new = [layer for layer in after if layer not in before]
    if len(new) != OURS or after[-OURS:] != new:
        raise Failed(f"{len(new)} of {len(after)} layers are new, expected the last {OURS}")
    return f"{len(after) - OURS} layers kept, {OURS} new"


def collected() -> str:
    """Stage test without its tests: it finds all of them."""
    said = done(docker("run", "--rm", "xpnet:test", "--collect-only", timeout_s=LONG_S))
    return last_line(said)


def suite() -> str:
    """All tests, in the container; other work on this machine comes first."""
    name = f"{PROJECT}-suite"
    words = ("--rm", "--name", name, "--cpu-shares", "256", "xpnet:test")
    return last_line(done(docker("run", *words, timeout_s=LONG_S)))


def train() -> str:
    """torch is there, `xpnet train` explains itself, and without a GPU the health check fails."""
    image = "xpnet:train"
    if "usage: xpnet train" not in done(docker("run", "--rm", image)):
        raise Failed("its command is not `xpnet train --help`")
    ask = "import torch; print(torch.__version__, 'CUDA', torch.version.cuda)"
    torch = done(docker("run", "--rm", "--entrypoint", "python", image, "-c", ask))
    program, *words = inspected(image)["Config"]["Healthcheck"]["Test"][1:]
    done(docker("run", "--rm", "--entrypoint", program, image, *words), code=1)
    return f"torch {torch}; the health check fails, as it should"


def nothing_left() -> str:
    """No container, network, volume or image of this proof."""
    found = leftovers()
    if found:
        raise Failed(f"still there: {', '.join(found)}")
    return "no container, network, volume or image of it"


if __name__ == "__main__":
    sys.exit(main())
