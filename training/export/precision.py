"""FP16 and INT8 forms of an exported ONNX file, and the effect on its results.

TensorRT 11 takes the precision from the graph only, and TensorRT 10 does so when it builds strongly
typed, so the same file serves both. Inputs and outputs stay float32.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from training.export.calibration import activation_ranges
from training.export.quantized_graph import convolutions, remove_unused, without_quantization
from xpnet.card import MAX_BATCH, METADATA_KEY, Card
from xpnet.errors import UserError, not_installed
from xpnet.files import replacing, write_text
from xpnet.frames import Frame, frame_to_tensor
from xpnet.frames import agreement as mask_agreement

log = logging.getLogger("xpnet.precision")

PRECISIONS = ("fp32", "fp16", "int8", "uint8")
"""int8: explicit Q/DQ, symmetric, for TensorRT; uint8: unsigned activations, for CPUs."""
AGREEMENT = 0.98
"""Smallest Dice with FP32's masks on the calibration frames; convolutions stay in float for it."""
MOST_LEFT_OUT = 0.1
"""Largest share of convolutions that may stay in float: each one costs speed."""
BATCH_TOLERANCE = 1e-4
"""Largest mean difference of a probability between a batch and single frames."""
SEARCHED = 8
"""Frames used to search for convolutions that reduce the agreement."""


@dataclass(frozen=True)
class Report:
    """The effect of a precision, on the frames it was made with."""

    precision: str
    frames: int
    size_bytes: int
    size_bytes_fp32: int
    largest_difference: float  # of a probability, from FP32
    mean_difference: float
    agreement: float  # Dice of its masks and those of FP32, over all pixels of all frames
    left_out: tuple[str, ...]  # convolutions that stay in float


def convert(
    source: Path,
    card: Card,
    frames: list[Frame],
    precision: str,
    path: Path,
    agreement: float = AGREEMENT,
) -> Report:
    """Convert an FP32 ONNX file to another precision, with its card and a report.

    The report is stored in the card and in PATH's .report.json.

    Args: source: The FP32 file. card: Its card. frames: Real frames, H x W x 3 uint8 RGB, for INT8
        calibration and for the comparison. precision: One of PRECISIONS. path: File to write.
        agreement: Smallest Dice with FP32's masks, for which INT8 keeps convolutions in float; 0
        keeps none.

    Raises: UserError: An unknown precision, no frames, ModelOpt is missing, the graph's results for
        a batch differ from those for single frames or are not finite, or `path` cannot be written.
    """
    if precision not in PRECISIONS[1:]:
        raise UserError(f"precision {precision}: expected one of {', '.join(PRECISIONS)}")
    if not frames:
        raise UserError("a precision is compared on real frames: none were given")
    size = card.input.height, card.input.width
    tensors = [frame_to_tensor(f, *size) for f in frames]
    wanted = _run(onnx.load(str(source)), card, tensors)
    with tempfile.TemporaryDirectory() as folder:
        if precision == "fp16":
            left_out: tuple[str, ...] = ()
            model = _half(source)
        else:
            model, left_out = _quantise(
                source, card, tensors, wanted, precision, Path(folder), agreement
            )
    found = _run(model, card, tensors)
    if not np.isfinite(found).all():
        raise UserError(
            f"{path}: not written: the output of the {precision} graph is not finite (NaN or "
            f"infinite) for at least one of {len(frames)} frames"
        )
    _check_batch(model, card, tensors, found, path)
    with replacing(path) as partial:
        report = Report(
            precision=precision,
            frames=len(frames),
            size_bytes=len(model.SerializeToString()),
            size_bytes_fp32=source.stat().st_size,
            largest_difference=float(np.abs(found - wanted).max()),
            mean_difference=float(np.abs(found - wanted).mean()),
            agreement=mask_agreement(found, wanted, card.threshold),
            left_out=left_out,
        )
        noted = replace(card, graph={**card.graph, **asdict(report)}, scores={})
        onnx.helper.set_model_props(model, {METADATA_KEY: noted.to_json()})
        onnx.checker.check_model(model)
        onnx.save(model, str(partial))
    write_report(path, asdict(report))
    return report


def write_report(path: Path, content: dict[str, Any]) -> None:
    """Write the report of an ONNX file beside it, as its .report.json."""
    write_text(path.with_suffix(".report.json"), json.dumps(content, indent=2) + "\n")


def _check_batch(
    model: onnx.ModelProto,
    card: Card,
    tensors: list[NDArray[np.float32]],
    found: NDArray[np.float32],
    path: Path,
) -> None:
    """Check that MAX_BATCH frames at once give the results of single frames. Raises UserError."""
    picked = [i % len(tensors) for i in range(MAX_BATCH)]
    at_once = _run(model, card, [np.concatenate([tensors[i] for i in picked])])
    differences = np.abs(at_once - found[picked])
    log.info(
        "%d frames at once or one by one: largest difference %.1e", MAX_BATCH, differences.max()
    )
    if not differences.mean() <= BATCH_TOLERANCE:
        raise UserError(
            f"{path}: not written: {MAX_BATCH} frames at once and one by one differ by "
            f"{differences.mean():.2e} on average, expected at most {BATCH_TOLERANCE:.0e}"
        )


def _half(source: Path) -> onnx.ModelProto:
    try:
        from modelopt.onnx.autocast import convert_to_mixed_precision
        from modelopt.onnx.logging_config import configure_logging
    except ImportError as error:
        hint = "scripts/setup.sh --engines"
        raise not_installed(str(error.name or "nvidia-modelopt"), "FP16", hint) from error
    configure_logging(logging.ERROR)  # each of its loggers has a level of its own
    return convert_to_mixed_precision(
        onnx_path=str(source), low_precision_type="fp16", keep_io_types=True
    )


def _quantise(
    source: Path,
    card: Card,
    tensors: list[NDArray[np.float32]],
    wanted: NDArray[np.float32],
    precision: str,
    folder: Path,
    agreement: float,
) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """Quantize every convolution except those that reduce the agreement most."""
    plain, full = folder / "plain.onnx", folder / "full.onnx"
    # Symbolic shapes are not needed, and sympy is used for nothing else.
    quant_pre_process(str(source), str(plain), skip_symbolic_shape=True)
    floats = onnx.load(str(plain))
    ranges = activation_ranges(floats, tensors)
    signed = precision == "int8"
    with _quiet():
        quantize_static(
            str(plain),
            str(full),
            _Frames(card.input.name, tensors[:1]),  # required, although every range is given
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            op_types_to_quantize=["Conv"],
            activation_type=QuantType.QInt8 if signed else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={
                "ActivationSymmetric": signed,  # TensorRT has no zero points
                "WeightSymmetric": True,
                "QuantizeBias": False,  # nor integer biases
                "TensorQuantOverrides": {
                    name: [{"rmin": low, "rmax": high}] for name, (low, high) in ranges.items()
                },
                # A convolution's output passes its activation first: before a ReLU6, most of the
                # range would be spent on values that are clipped.
                "OpTypesToExcludeOutputQuantization": ["Conv"],
            },
        )
    model = onnx.load(str(full))

    def tried(left_out: tuple[str, ...], frames: int) -> NDArray[np.float32]:
        return _run(without_quantization(model, floats, left_out), card, tensors[:frames])

    def agrees(left_out: tuple[str, ...]) -> bool:
        found = tried(left_out, len(tensors))
        return mask_agreement(found, wanted, card.threshold) >= agreement

    names = convolutions(model)
    left_out: tuple[str, ...] = ()
    if not agrees(left_out):
        # By the mean difference: one layer changes the masks of a few frames too little.
        searched = wanted[:SEARCHED]
        errors = {n: np.abs(tried((n,), SEARCHED) - searched).mean() for n in names}
        for name in sorted(names, key=lambda n: errors[n])[: int(MOST_LEFT_OUT * len(names))]:
            left_out = (*left_out, name)
            if agrees(left_out):
                break
    log.info("%d of %d convolutions stay in float", len(left_out), len(names))
    return remove_unused(without_quantization(model, floats, left_out)), left_out


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the quantizer's line for each channel of a weight."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)


class _Frames(CalibrationDataReader):  # type: ignore[misc]
    """Feeds tensors to the calibration, one by one."""

    def __init__(self, name: str, tensors: list[NDArray[np.float32]]) -> None:
        self._feeds = iter([{name: tensor} for tensor in tensors])

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """Return the next input, None after the last."""
        return next(self._feeds, None)


def _run(
    model: onnx.ModelProto, card: Card, tensors: list[NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Return the probabilities, N x 1 x H x W."""
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    feeds = ({card.input.name: tensor} for tensor in tensors)
    return np.concatenate([session.run([card.output.name], feed)[0] for feed in feeds])
