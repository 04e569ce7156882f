"""`xpnet export`, `export precisions`, `export tune` and `export pack`: from weights to files."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from xpnet.commands.options import TRAIN_HINT, add_command, add_frames, add_repository
from xpnet.errors import UserError, not_installed
from xpnet.files import check_distinct, check_writable, write_text
from xpnet.serving.cpu_runtimes import AUTO, RUNTIMES, best_runtime, computes_bf16


def add_export(commands: Any) -> None:
    """Add `xpnet export`."""
    p = add_command(
        commands,
        "export",
        "export weights to ONNX and into the model repository",
        "xpnet export training/weights/lite.safetensors --output build/lite.onnx",
        export,
    )
    p.add_argument("weights", type=Path, help="safetensors file with its card beside it")
    p.add_argument(
        "--output",
        type=Path,
        help="write only this ONNX file, not the repository; with several precisions a folder for "
        "PRECISION.onnx files",
    )
    p.add_argument("--size", type=int, help="height and width in pixels (default: the card's)")
    p.add_argument(
        "--plan-size",
        type=int,
        help="height and width of the TensorRT plan (default: that of the ONNX model)",
    )
    p.add_argument(
        "--precision",
        nargs="+",
        default=["fp32"],
        help="fp32, or some of fp16, int8 (for TensorRT) and uint8 (for a CPU), with --output; "
        "several are made from one FP32 file, which is scored once",
    )
    p.add_argument(
        "--calibration",
        type=Path,
        metavar="DIR",
        help="data set whose train frames calibrate INT8 (default: frames of --frames)",
    )
    p.add_argument(
        "--score",
        action="append",
        default=[],
        metavar="NAME=DIR[:SPLIT]",
        help="score the file and FP32 on this set, for the report; may be repeated",
    )
    add_repository(p)
    p.add_argument(
        "--forms",
        metavar="FILE",
        help="file of `xpnet export tune`; 'none': layers as trained (default: the files of "
        "training/export/forms, for a CPU with fp32 and uint8, for a GPU with fp16 and int8)",
    )
    add_frames(p)


def add_precisions(commands: Any) -> None:
    """Add `xpnet export precisions`."""
    p = add_command(
        commands,
        "export precisions",
        "print the reports of `xpnet export --precision` as one table",
        "xpnet export precisions triton_models/*/onnx/*.report.json",
        precisions,
    )
    p.add_argument("report", type=Path, nargs="+", help="a .report.json")
    p.add_argument("--json", type=Path, metavar="FILE", help="write them all as JSON")


def add_tune(commands: Any) -> None:
    """Add `xpnet export tune`."""
    p = add_command(
        commands,
        "export tune",
        "find the fastest form of each part of a network",
        "xpnet export tune training/weights/student.safetensors --output build/forms.json",
        tune,
    )
    p.add_argument("weights", type=Path, help="safetensors file with its card beside it")
    p.add_argument("--size", type=int, help="height and width in pixels (default: the card's)")
    p.add_argument("--output", type=Path, required=True, help="JSON file for `export --forms`")
    p.add_argument(
        "--runtime",
        default=AUTO,
        choices=(AUTO, *RUNTIMES),
        help="runtime to measure; auto: the one that serves on this machine (default: %(default)s)",
    )
    p.add_argument(
        "--device",
        metavar="NAME",
        help="device of `xpnet bench roofline`, such as 'RTX 3070 Laptop': estimate for it in fp16",
    )
    add_frames(p)


def export(args: argparse.Namespace) -> int:
    """Run `xpnet export`."""
    check_distinct((args.output,), (args.weights,))
    try:
        from training.export.onnx_export import export_onnx, export_repository
        from training.models.weight_files import load_network
        from xpnet.images import sample_frames
    except ImportError as error:
        raise not_installed(str(error.name), "export", TRAIN_HINT) from error
    if args.precision != ["fp32"]:
        return _export_precision(args)
    if args.calibration or args.score:
        raise UserError("--calibration and --score belong to --precision fp16, int8 or uint8")
    network, card = load_network(args.weights)
    if args.size is not None:
        card = card.at_size(args.size, args.size)
    frames = sample_frames(args.frames)
    forms = _forms(args, card.network)
    if args.output:
        difference = export_onnx(network, card, frames, args.output, forms)
        print(f"{args.output}: largest difference from torch {difference:.1e}")
    else:
        plan_size = card.input.height if args.plan_size is None else args.plan_size
        difference = export_repository(network, card, frames, args.repository, plan_size, forms)
        print(f"{args.repository}: largest difference from torch {difference:.1e}")
    return 0


def _export_precision(args: argparse.Namespace) -> int:
    """FP32 first, checked against torch, then the precision made from it and scored."""
    if not args.output:
        raise UserError(f"--precision {' '.join(args.precision)}: give --output")
    try:
        from training.evaluation.scored_sets import parse_sets
        from training.export.precision_export import convert_weights
        from xpnet.card import read_card
    except ImportError as error:
        raise not_installed(str(error.name), "export", TRAIN_HINT) from error
    lines = convert_weights(
        args.weights,
        _outputs(args.precision, args.output),
        size=args.size,
        forms=_forms(args, read_card(args.weights.with_suffix(".json")).network),
        clip=args.frames,
        calibration=args.calibration,
        sets=parse_sets(args.score),
    )
    print("\n".join(lines))
    return 0


def _outputs(precisions: list[str], output: Path) -> dict[str, Path]:
    """Return the file of each precision."""
    if len(precisions) == 1:
        return {precisions[0]: output}
    if len(set(precisions)) < len(precisions):
        raise UserError(f"--precision {' '.join(precisions)}: one is named twice")
    if not output.is_dir():
        raise UserError(f"--output {output}: no such folder for several precisions")
    return {precision: output / f"{precision}.onnx" for precision in precisions}


def _forms(args: argparse.Namespace, network: str) -> dict[str, str]:
    from training.export.layer_forms import included_forms, read_forms

    if args.forms == "none":
        return {}
    if args.forms:
        return read_forms(Path(args.forms))
    found = [included_forms(network, precision) for precision in args.precision]
    if any(forms != found[0] for forms in found):
        raise UserError(
            f"--precision {' '.join(args.precision)}: {network} has other forms on a GPU than on "
            "a CPU: export them one by one, or give --forms"
        )
    return found[0]


def precisions(args: argparse.Namespace) -> int:
    """Run `xpnet export precisions`."""
    try:
        from training.export.precision_table import as_markdown, read_reports
    except ImportError as error:
        raise not_installed(str(error.name), "reports", TRAIN_HINT) from error
    if args.json:
        check_writable(args.json)
    reports = read_reports(args.report)
    print(as_markdown(reports), end="")
    if args.json:
        write_text(args.json, json.dumps(reports, indent=2) + "\n")
    return 0


def tune(args: argparse.Namespace) -> int:
    """Run `xpnet export tune`."""
    try:
        from training.bench.roofline import find_device
        from training.export.form_search import (
            Runtime,
            as_lines,
            estimate_forms,
            write_forms,
        )
        from training.export.form_search import measure_forms as measure
        from training.models.weight_files import load_network
        from xpnet.images import sample_frames
    except ImportError as error:
        raise not_installed(str(error.name), "tuning", TRAIN_HINT) from error
    check_distinct((args.output,), (args.weights,))
    check_writable(args.output)
    network, card = load_network(args.weights)
    if args.size is not None:
        card = card.at_size(args.size, args.size)
    if args.device:
        found = estimate_forms(network, card, find_device(args.device), "fp16")
    else:
        name = best_runtime() if args.runtime == AUTO else args.runtime
        precision = "bf16" if name == "openvino" and computes_bf16() else "fp32"
        found = measure(network, sample_frames(args.frames, 1)[0], card, Runtime(name, precision))
    write_forms(found, args.output)
    print("\n".join(as_lines(found)))
    return 0


def add_pack(commands: Any) -> None:
    """Add `xpnet export pack`."""
    p = add_command(
        commands,
        "export pack",
        "store weights at half precision",
        "xpnet export pack build/training/teacher1/weights.safetensors "
        "--output build/teacher1.safetensors",
        pack,
    )
    p.add_argument("weights", type=Path, help="safetensors file with its card beside it")
    p.add_argument("--output", type=Path, required=True, help="safetensors file to write")


def pack(args: argparse.Namespace) -> int:
    """Run `xpnet export pack`."""
    check_distinct((args.output,), (args.weights,))
    try:
        from training.models.weight_files import pack_weights
    except ImportError as error:
        raise not_installed(str(error.name), "packing weights", TRAIN_HINT) from error
    pack_weights(args.weights, args.output)
    print(args.output)
    return 0
