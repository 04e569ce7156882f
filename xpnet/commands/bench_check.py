"""`xpnet bench check`: the guard against slower code, by ratios of times."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from xpnet.commands.options import TRAIN_HINT, add_command, add_repository
from xpnet.commands.report_files import MARKDOWN_HELP, write_section
from xpnet.errors import UserError
from xpnet.files import check_distinct, check_writable
from xpnet.paths import ROOT

RATIOS_FILE = ROOT / "docs" / "data" / "bench-ratios.json"
COMPARED = ("python", "numpy", "opencv-python-headless", "onnxruntime", "openvino", "torch")
"""Packages whose version can change a ratio."""


def add_check(commands: Any) -> None:
    """Add `xpnet bench check`."""
    p = add_command(
        commands,
        "bench check",
        "compare ratios of times with those in a file, and say which got worse",
        "xpnet bench check --rounds 15",
        check,
    )
    p.add_argument(
        "--file",
        type=Path,
        default=RATIOS_FILE,
        help="with the ratios of known machines (default: docs/data/bench-ratios.json)",
    )
    p.add_argument(
        "--rounds", type=int, default=15, help="each times everything once (default: %(default)s)"
    )
    p.add_argument(
        "--update",
        action="store_true",
        help="measure --runs times, and write the ratios and what they vary by for this machine",
    )
    p.add_argument("--runs", type=int, default=5, help="of --update (default: %(default)s)")
    p.add_argument(
        "--markdown",
        type=Path,
        metavar="FILE",
        help=f"with --update: {MARKDOWN_HELP.format('ratios')}",
    )
    add_repository(p)


def check(args: argparse.Namespace) -> int:
    """Run `xpnet bench check`; return 1 if a ratio got worse."""
    from xpnet.bench.ratios import as_lines, compare, read_file
    from xpnet.host.cpu import machine_type

    if args.rounds < 3 or args.runs < 2:
        raise UserError(
            f"--rounds {args.rounds} --runs {args.runs}: expected at least 3 rounds and 2 runs"
        )
    if args.markdown and not args.update:
        raise UserError("--markdown: expected --update with it")
    entries, kind = read_file(args.file), machine_type()
    if args.update:
        return _update(args, kind)
    entry = entries.get(kind, {})
    if not entry:
        print(f"{args.file} has no ratios of this type of machine ({kind}): nothing is compared")
    with _unet() as (unet, missing):
        found = _measure(args.repository, unet, missing, args.rounds)
        rows = compare(found, entry)
        if any(row.verdict == "worse" for row in rows):
            print("some got worse: measured a second time, the better value of both counts")
            again = _measure(args.repository, unet, None, args.rounds)
            rows = compare({name: min(value, again[name]) for name, value in found.items()}, entry)
    print("\n".join(as_lines(rows)))
    return _say_what_to_do([row.name for row in rows if row.verdict == "worse"], entry)


def _say_what_to_do(worse: list[str], entry: dict[str, Any]) -> int:
    from xpnet.bench.ratios import RATIOS

    now = _versions()
    moved = [
        f"{name} {kept} -> {now.get(name)}"
        for name, kept in entry.get("versions", {}).items()
        if now.get(name) != kept
    ]
    if moved:
        print(f"versions differ from those of the file: {', '.join(moved)}")
    if not worse:
        return 0
    for ratio in RATIOS:
        if ratio.name in worse:
            print(f"worse: {ratio.name} ({ratio.means}): look at {ratio.look_at}")
    print("if it is intended: `xpnet bench check --update` on a quiet machine, and say why")
    return 1


def _update(args: argparse.Namespace, kind: str) -> int:
    from xpnet.bench.ratios import as_markdown, with_tolerance, write_entry
    from xpnet.host.cpu import measured_here

    check_distinct((args.file, args.markdown))
    for path in (args.file, args.markdown):
        if path:
            check_writable(path)
    before = os.getloadavg()[0]
    runs: list[dict[str, float]] = []
    with _unet() as (unet, missing):
        for number in range(args.runs):
            print(f"run {number + 1} of {args.runs}", flush=True)
            said = None if number else missing
            runs.append(_measure(args.repository, unet, said, args.rounds))
    entry = {
        **measured_here(),
        "versions": _versions(),
        "rounds": args.rounds,
        "load_before": round(before, 2),
        "load_after": round(os.getloadavg()[0], 2),
        "ratios": {name: with_tolerance([run[name] for run in runs]) for name in runs[0]},
    }
    table = as_markdown(write_entry(args.file, kind, entry))
    print(table, end="")
    if args.markdown:
        write_section(args.markdown, "ratios", table)
    return 0


def _measure(
    repository: Path, unet: Path | None, missing: str | None, rounds: int
) -> dict[str, float]:
    """Load everything anew, time it and return the ratios; say what is missing, unless None."""
    from xpnet.bench.ratio_workloads import Workloads, time_workloads
    from xpnet.bench.ratios import RATIOS, ratios_of

    workloads = Workloads(repository, unet)
    found = ratios_of(time_workloads(workloads, rounds))
    if missing is not None:
        lacks = [*([missing] if missing else []), *workloads.missing]
        if lacks:
            left_out = [ratio.name for ratio in RATIOS if ratio.name not in found]
            print(f"skipped: {', '.join(left_out)}; missing here: {'; '.join(lacks)}")
    return found


def _versions() -> dict[str, str]:
    from xpnet.host.versions import versions

    found = versions()
    return {name: version for name in COMPARED if (version := found[name])}


@contextmanager
def _unet() -> Iterator[tuple[Path | None, str]]:
    """Yield the exported U-Net with fresh weights, or None and what it lacks.

    Its weights are not in the repository; fresh ones take the same time.
    """
    try:
        import torch

        from training.export.onnx_export import export_onnx
        from training.models.zoo import MODEL_NAMES, NETWORKS
        from xpnet.bench.ratio_workloads import UNET_SIZE
        from xpnet.card import new_card
        from xpnet.images import sample_frames
        from xpnet.paths import DEMO_CLIP
    except ImportError as error:
        yield None, f"the U-Net needs {error.name}, which is not installed: {TRAIN_HINT}"
        return
    torch.manual_seed(1)
    network = NETWORKS["unet"]().eval()
    count = sum(p.numel() for p in network.parameters())
    card = new_card(
        MODEL_NAMES["unet"], "unet", count, UNET_SIZE, licence="none", data=(), git_commit="none"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "unet.onnx"
        export_onnx(network, card, sample_frames(DEMO_CLIP, 1), path)
        yield path, ""
