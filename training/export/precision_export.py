"""`xpnet export --precision`: exports weights to FP16 or INT8 ONNX files with reports."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from training.data.readers import DataSet, read_data_set
from training.evaluation.scored_sets import ScoredSet, score
from training.export.layer_forms import Forms
from training.export.onnx_export import card_of_graph, export_onnx
from training.export.precision import PRECISIONS, convert, write_report
from training.models.weight_files import load_network
from xpnet.errors import UserError
from xpnet.files import check_writable
from xpnet.frames import Frame
from xpnet.host.cpu import describe_machine
from xpnet.images import sample_frames
from xpnet.serving.onnx_inference import OnnxInference

CALIBRATION = 64
"""Frames for INT8 calibration, spread over the train split of a data set."""
CLIP = 32
"""Frames of a clip for calibration, if no data set is given."""


def convert_weights(
    weights: Path,
    outputs: dict[str, Path],
    size: int | None,
    forms: Forms,
    clip: Path,
    calibration: Path | None,
    sets: list[ScoredSet],
) -> list[str]:
    """Export weights in one or more precisions, each with a report (.report.json).

    FP32 is exported first and compared with PyTorch; the other precisions are made from that file.

    Args:
        weights: Safetensors file with its card.
        outputs: File to write by precision.
        size: Height and width in pixels, or None for the card's.
        forms: Layer forms, see training.export.layer_forms.
        clip: Clip for comparison and calibration.
        calibration: Data set for INT8 calibration, or None for the clip.
        sets: Data sets that every file is scored on.

    Returns:
        Lines for a person.

    Raises:
        UserError: As export_onnx, training.export.precision.convert and
            training.evaluation.scoring.evaluate.
    """
    for precision, output in outputs.items():
        if precision not in PRECISIONS[1:]:
            raise UserError(f"--precision {precision}: expected some of {', '.join(PRECISIONS)}")
        check_writable(output)
    sources = {s.name: read_data_set(s.folder) for s in sets}
    frames = _calibration(calibration) if calibration else sample_frames(clip, CLIP)
    network, card = load_network(weights)
    if size is not None:
        card = card.at_size(size, size)
    with tempfile.TemporaryDirectory() as folder:
        full = Path(folder) / "fp32.onnx"
        export_onnx(network, card, frames[:8], full, forms)
        card = card_of_graph(card, forms)
        reports = [
            asdict(convert(full, card, frames, precision, output))
            for precision, output in outputs.items()
        ]
        scores = {
            s.name: {
                precision: _score(path, sources[s.name], s.split)
                for precision, path in {"fp32": full, **outputs}.items()
            }
            for s in sets
        }
    where = {
        "model": card.name,
        "height": card.input.height,
        "width": card.input.width,
        "machine": describe_machine(),
        "date": date.today().isoformat(),
    }
    lines = []
    for output, content in zip(outputs.values(), reports, strict=True):
        of = ("fp32", content["precision"])
        content["scores"] = {
            name: {key: found[key] for key in of} for name, found in scores.items()
        }
        write_report(output, {**where, **content})
        lines += [f"{output}: {content['precision']}", *_lines(content)]
    return lines


def _calibration(folder: Path) -> list[Frame]:
    samples = read_data_set(folder).in_split("train")
    if not samples:
        raise UserError(f"{folder}: no train split to calibrate on")
    step = max(1, len(samples) // CALIBRATION)
    return [s.pair.read_frame() for s in samples[::step][:CALIBRATION]]


def _score(path: Path, source: DataSet, split: str | None) -> dict[str, float]:
    scores = score(OnnxInference(path), source, split)
    return {"dice": scores["dice"], "iou": scores["iou"], "frames": scores["frames"]}


def _lines(content: dict[str, Any]) -> list[str]:
    mib = 1 << 20
    lines = [
        f"size {content['size_bytes'] / mib:.1f} MiB, FP32 {content['size_bytes_fp32'] / mib:.1f}",
        f"difference from FP32 on {content['frames']} frames: largest "
        f"{content['largest_difference']:.4f}, mean {content['mean_difference']:.6f}; "
        f"masks agree by Dice {content['agreement']:.4f}",
    ]
    if content["left_out"]:
        lines.append(f"in float: {', '.join(content['left_out'])}")
    for name, of in content["scores"].items():
        plain, ours = of["fp32"], of[content["precision"]]
        lines.append(
            f"{name}: Dice {ours['dice']:.4f}, FP32 {plain['dice']:.4f}; "
            f"IoU {ours['iou']:.4f}, FP32 {plain['iou']:.4f}"
        )
    return lines
