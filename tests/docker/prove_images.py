"""Build the stages of the Dockerfile with Docker and check the claims of docs/containers.md.

    sudo .venv/bin/python -m tests.docker.prove_images [--stages cpu test train] [--suite] [--keep]

1. If the engine does not have the base image, make it with debootstrap, which needs root: the
   engine may have no access to a registry. The base then contains this machine's package settings;
   a last layer of each image removes them.
2. Build the stages.
3. Run compose.yaml unchanged, and check each claim with the engine and the kernel.
4. Remove everything except the logs and, with --keep, the images.
5. Print a table for docs/containers.md.

Exit code 0 if all claims are true, 1 if one is false, 2 if the proof cannot start.
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
from tests.docker.docker_engine import (
    COMPOSE_PROGRAM,
    LONG_TIMEOUT_S,
    PROJECT,
    CheckFailed,
    check_engine,
    check_space,
    checked_output,
    docker,
    find_leftovers,
    image_id,
    inspect,
    last_line,
    remove_everything,
    run_command,
)
from tests.docker.image_checks import CHECKS
from xpnet.errors import UserError
from xpnet.paths import ROOT

STAGE_GB = {"cpu": 4.0, "test": 9.0, "train": 9.0}
"""Space that each stage and the stages below it need on the engine's disk."""
LOGS_GB = 1.0
CODE_LAYERS = 2
"""Layers that an edit of the code may rebuild: the code, and its installation."""
USER = "10001:10001"


@dataclass
class Report:
    """The rows of the table.

    Attributes:
        rows: What was done, what was found, seconds.
        failures: Number of steps that failed.
    """

    rows: list[tuple[str, str, float]] = field(default_factory=list)
    failures: int = 0

    def run_step(self, name: str, step: Callable[[], str]) -> None:
        """Run a step and add its row; a failed step does not stop the proof.

        Args:
            name: What the step does or checks.
            step: Returns what was found, or raises CheckFailed.
        """
        print(f"{name} ...", flush=True)
        start = time.monotonic()
        try:
            found = step()
        except CheckFailed as failure:
            self.failures += 1
            found = f"FAILED: {failure}"
        self.rows.append((name, found, time.monotonic() - start))
        print(f"    {found}", flush=True)

    def table(self) -> str:
        """Return the rows as a table in Markdown."""
        rows = [f"| {name} | {found.replace('|', '/')} | {s:.1f} |" for name, found, s in self.rows]
        return "\n".join(["| what | found | seconds |", "|---|---|---|", *rows])


def main() -> int:
    """Parse the options, run the proof, return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stages", nargs="+", choices=list(STAGE_GB), default=["cpu", "test"])
    parser.add_argument("--suite", action="store_true", help="run all tests in stage test")
    parser.add_argument("--keep", action="store_true", help="keep the images xpnet:STAGE")
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "build" / "images", help="folder for the logs"
    )
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # clean up as after Ctrl-C
    try:
        return prove(args)
    except UserError as error:
        print(f"prove_images: {error}", file=sys.stderr)
        return 2


def prove(args: argparse.Namespace) -> int:
    """Run all steps, print the table and return the exit code.

    Args:
        args: The options of `main`.

    Raises:
        UserError: The proof cannot start.
    """
    stages = [stage for stage in STAGE_GB if stage == "cpu" or stage in args.stages]
    version = check_engine(sum(STAGE_GB[stage] for stage in stages))
    base, report = base_image(), Report()
    needs_base = not image_id(base)
    args.folder.mkdir(parents=True, exist_ok=True)
    if needs_base:
        empty_debian.check_debootstrap()
        check_space(args.folder, LOGS_GB)
    with cleanup(stages, base if needs_base else "", args.keep):
        if needs_base:
            report.run_step(f"`{base}`", partial(import_debian, args.folder, base))
        for stage in stages:
            build = partial(build_stage, args.folder, stage)
            report.run_step(f"`docker build --target {stage}`", build)
        if not report.failures:  # the checks need all images
            run_checks(report, stages, needs_base, args.suite)
            rebuild = partial(rebuild_after_edit, args.folder)
            report.run_step("the same after an edit of one .py file", rebuild)
    report.run_step("leftovers", check_nothing_left)
    compose_version = last_line(run_command([str(COMPOSE_PROGRAM), "version"]).stdout)
    print(f"\nDocker {version}, Compose {compose_version}")
    print(report.table())
    return 1 if report.failures else 0


def run_checks(report: Report, stages: list[str], has_settings: bool, all_tests: bool) -> None:
    """Run the checks of the built stages.

    Args:
        report: Gets a row for each check.
        stages: The built stages.
        has_settings: Whether the images contain this machine's package settings.
        all_tests: Whether to run all tests in stage `test`, or only to collect them.
    """
    for stage in stages:
        tag_image(stage, has_settings)
    for name, check in CHECKS:
        report.run_step(name, check)
    if "test" in stages:
        report.run_step("`docker run xpnet:test`", run_suite if all_tests else collect_tests)
    if "train" in stages:
        report.run_step("`docker run xpnet:train` without a GPU", check_train_image)


def base_image() -> str:
    """Return the image on which stage `base` of the Dockerfile is built."""
    with (ROOT / "Dockerfile").open("rb") as file:
        rows = DockerfileParser(fileobj=file).structure
    return next(row["value"].split()[0] for row in rows if row["instruction"] == "FROM")


@contextmanager
def cleanup(stages: list[str], base: str, keep: bool) -> Iterator[None]:
    """Remove an older proof before, and this one after; restore the user's tags.

    Args:
        stages: Stages whose images xpnet:STAGE the proof makes.
        base: Tag of the base image if the proof makes it, or an empty string.
        keep: Keep the images xpnet:STAGE.
    """
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
    """Make the base image from an empty Debian and return its size.

    Args:
        folder: Folder for temporary files.
        tag: Tag of the image.
    """
    root = folder / "root"
    shutil.rmtree(root, ignore_errors=True)
    try:
        empty_debian.make_empty_debian(root)
        # Docker adds its own resolver files.
        empty_debian.remove_settings(root, empty_debian.RESOLVER)
        with subprocess.Popen(["tar", "-C", root, "-c", "."], stdout=subprocess.PIPE) as tar:
            imported = docker("import", "--change", 'CMD ["bash"]', "-", tag, stdin=tar.stdout)
            checked_output(imported)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return f"debootstrap {empty_debian.SUITE}, {image_size(tag)}"


def build_stage(folder: Path, stage: str, context: Path = ROOT, tag: str = "") -> str:
    """Build a stage and return the size of its image.

    Args:
        folder: Folder for the log, build-STAGE.log.
        stage: The stage.
        context: The build context.
        tag: Tag of the image; xpnet-proof:STAGE if empty.

    Raises:
        CheckFailed: The build failed.
    """
    build_arguments = list(empty_debian.proxy_variables())
    if stage != "cpu" and "XPNET_TORCH_INDEX" in os.environ:
        build_arguments.append("XPNET_TORCH_INDEX")
    # The host's network, because Docker's bridge may have no route to the packages.
    options = ["--network", "host", "--force-rm", "--target", stage]
    options += ["--tag", tag or f"{PROJECT}:{stage}"]
    options += [f"--build-arg={name}" for name in build_arguments]
    log = folder / f"build-{stage}.log"
    with log.open("w", encoding="utf-8") as file:  # a file, so that it can be read meanwhile
        result = docker("build", *options, str(context), timeout_s=LONG_TIMEOUT_S, stdout=file,
                        stderr=subprocess.STDOUT)  # fmt: skip
    if result.returncode:
        raise CheckFailed(f"{log} ends with: {last_line(log.read_text(encoding='utf-8'))}")
    return image_size(tag or f"{PROJECT}:{stage}")


def image_size(tag: str) -> str:
    """Return size and number of layers of an image, its base included."""
    image = inspect(tag)
    layers = len(image["RootFS"]["Layers"])
    return f"{image['Size'] / 1e9:.2f} GB, {layers} layer{'s' if layers > 1 else ''}"


def tag_image(stage: str, has_settings: bool) -> None:
    """Tag an image as xpnet:STAGE, the name in compose.yaml.

    Args:
        stage: The stage.
        has_settings: Whether to remove this machine's package settings in a new last layer.
    """
    source, tag = f"{PROJECT}:{stage}", f"xpnet:{stage}"
    if not has_settings:
        checked_output(docker("tag", source, tag))
        return
    names = (empty_debian.APT_SETTINGS, empty_debian.PIP_SETTINGS, empty_debian.CERTIFICATES)
    files = " ".join(f"/{name}" for name in names)
    text = f"FROM {source}\nUSER 0:0\nRUN rm {files}\nUSER {USER}\n"
    checked_output(docker("build", "--tag", tag, "-", input=text))


def rebuild_after_edit(folder: Path) -> str:
    """Build stage cpu from a copy of the project with one edit, and count the new layers.

    Args:
        folder: Folder for the copy and the log.

    Raises:
        CheckFailed: Other layers than the last CODE_LAYERS are new.
    """
    copy = folder / "edited"
    shutil.rmtree(copy, ignore_errors=True)
    ignored = shutil.ignore_patterns(
        ".git", ".venv", ".triton*", "build", "__pycache__", ".*_cache"
    )
    try:
        shutil.copytree(ROOT, copy, symlinks=True, ignore=ignored)
        with (copy / "xpnet" / "cli.py").open("a") as file:
            file.write("# edited\n")
        build_stage(folder, "cpu", copy, f"{PROJECT}:edited")
    finally:
        shutil.rmtree(copy, ignore_errors=True)
    before, after = (inspect(f"{PROJECT}:{tag}")["RootFS"]["Layers"] for tag in ("cpu", "edited"))
    new = [layer for layer in after if layer not in before]
    if len(new) != CODE_LAYERS or after[-CODE_LAYERS:] != new:
        raise CheckFailed(
            f"{len(new)} of {len(after)} layers are new, expected the last {CODE_LAYERS}"
        )
    return f"{len(after) - CODE_LAYERS} layers kept, {CODE_LAYERS} new"


def collect_tests() -> str:
    """Collect the tests in stage `test` without running them."""
    run = docker("run", "--rm", "xpnet:test", "--collect-only", timeout_s=LONG_TIMEOUT_S)
    return last_line(checked_output(run))


def run_suite() -> str:
    """Run all tests in stage `test`, with a low CPU priority."""
    options = ("--rm", "--name", f"{PROJECT}-suite", "--cpu-shares", "256")
    run = docker("run", *options, "xpnet:test", timeout_s=LONG_TIMEOUT_S)
    return last_line(checked_output(run))


def check_train_image() -> str:
    """Check stage `train`: its command, its PyTorch, and that its health check needs a GPU."""
    image = "xpnet:train"
    if "usage: xpnet train" not in checked_output(docker("run", "--rm", image)):
        raise CheckFailed("its command is not `xpnet train --help`")
    code = "import torch; print(torch.__version__, 'CUDA', torch.version.cuda)"
    torch = checked_output(docker("run", "--rm", "--entrypoint", "python", image, "-c", code))
    program, *arguments = inspect(image)["Config"]["Healthcheck"]["Test"][1:]
    checked_output(docker("run", "--rm", "--entrypoint", program, image, *arguments), code=1)
    return f"torch {torch}; the health check fails, as expected without a GPU"


def check_nothing_left() -> str:
    """Check that no container, network, volume or image of the proof is left."""
    found = find_leftovers()
    if found:
        raise CheckFailed(f"left: {', '.join(found)}")
    return "no container, network, volume or image"


if __name__ == "__main__":
    sys.exit(main())
