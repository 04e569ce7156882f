"""TensorRT by its command line, trtexec, where its Python module is not installed.

Source: NVIDIA's trtexec of TensorRT 10.0 to 11.1: sampleOptions.cpp and sampleEngines.cpp for the
options and what they set, sampleReporting.cpp for the files that it writes, logging.h for its
first line, sampleDevice.cpp for how it ends without a GPU.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpnet.card import Card, most_frames
from xpnet.errors import UserError
from xpnet.host.processes import die_with_parent

PLACES = "/usr/src/tensorrt/bin"
"""Where JetPack and NVIDIA's containers have it, beside PATH."""


def find_trtexec() -> str | None:
    """The program; None where there is none."""
    return shutil.which("trtexec") or shutil.which("trtexec", path=PLACES)


class Trtexec:
    """TensorRT through one program; see xpnet.tensorrt.plan_builder.Tool."""

    def __init__(self, program: str) -> None:
        self._program = program
        said = self._run(["--help"], "tell its version")
        found = re.search(r"\[TensorRT v(\d+)\]", said)
        if found is None:
            raise UserError(f"{program} --help: says no version, expected '[TensorRT v...]'")
        number = int(found[1])
        # 100600 is 10.6.0; up to TensorRT 8 it was 8601 for 8.6.1.
        base = 100 if number >= 100_000 else 10
        self._major, rest = divmod(number, 10_000 if base == 100 else 1_000)
        self.version = f"{self._major}.{rest // 100}.{rest % 100}"

    def times(self, dla: int | None) -> str:
        """See xpnet.tensorrt.plan_builder.Tool."""
        return f"trtexec, {'with' if dla is None else 'without'} CUDA graphs, copies included"

    def build(self, onnx: Path, card: Card, output: Path, dla: int | None, cache: Path) -> None:
        """Writes the plan of an ONNX file. Raises UserError with trtexec's reason."""
        name, (_, *sizes) = card.input.name, card.input.shape
        one, most = (f"{name}:{n}x{'x'.join(map(str, sizes))}" for n in (1, most_frames(dla)))
        options = [
            f"--onnx={onnx}",
            f"--saveEngine={output}",
            f"--minShapes={one}",
            f"--optShapes={one}",
            f"--maxShapes={most}",
            "--skipInference",
            f"--timingCacheFile={cache}",
        ]
        if dla is None:
            options.append("--stronglyTyped")  # TensorRT 11 does nothing else, and passes it over
        else:
            # For an accelerator trtexec 10 itself sets the FP16 flag, which a strongly typed
            # network refuses.
            options += [f"--useDLACore={dla}", "--allowGPUFallback"]
        self._run(options, f"build a plan of {onnx}")

    def run(
        self, plan: Path, card: Card, tensors: list[NDArray[np.float32]], dla: int | None
    ) -> tuple[NDArray[np.float32], float]:
        """Probabilities N x 1 x H x W, and the median milliseconds of a frame."""
        shape = "x".join(str(n) for n in tensors[0].shape)
        found, times = [], []
        how = ["--useCudaGraph"] if dla is None else [f"--useDLACore={dla}"]
        if self._major >= 11:  # which leaves the copies out unless told otherwise
            how.append("--includeDataTransfers")
        with tempfile.TemporaryDirectory() as folder:
            given, maps, timed = (Path(folder) / n for n in ("in.bin", "out.json", "times.json"))
            for tensor in tensors:
                tensor.tofile(given)
                self._run(
                    [
                        f"--loadEngine={plan}",
                        f"--shapes={card.input.name}:{shape}",
                        f"--loadInputs={card.input.name}:{given}",
                        f"--exportOutput={maps}",
                        f"--exportTimes={timed}",
                        "--duration=1",
                        *how,
                    ],
                    f"run {plan}",
                )
                try:
                    found.append(_probabilities(maps, card))
                    times += [float(row["latencyMs"]) for row in _read(timed)]
                except (OSError, ValueError, KeyError, TypeError) as error:
                    reason = f"its output is not what we know ({error})"
                    raise UserError(f"trtexec cannot run {plan}: {reason}") from error
        return np.concatenate(found), float(np.median(times))

    def _run(self, options: list[str], what: str) -> str:
        try:
            result = subprocess.run(
                [self._program, *options],
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                preexec_fn=die_with_parent,
            )
        except OSError as error:  # of another architecture, or no program
            raise UserError(f"{self._program}: cannot be run: {error.strerror}") from error
        said = result.stdout + result.stderr
        if result.returncode:
            raise UserError(f"trtexec cannot {what}: {_reason(said, result.returncode)}")
        return said


def _reason(said: str, code: int) -> str:
    """Its first error; where it ends without one, as on a machine without a GPU, its last word."""
    if code == -signal.SIGKILL:
        return "killed by SIGKILL: was the memory full?"
    lines = [line for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if "[E]" in line]
    words = [line for line in lines if not re.search(r"^&&&& |\[[IW]\]", line)]
    reason = (errors[:1] or words[-1:] or lines[-1:] or ["it says nothing"])[0].strip()
    reason = re.sub(r"^\[[\d/:-]+\] \[[EIW]\] (\[TRT\] )?", "", reason)
    return f"killed by {signal.Signals(-code).name}: {reason}" if code < 0 else reason


def _read(path: Path) -> Any:
    """Trtexec's JSON, in which a number may be `nan` as C++ writes it."""
    text = path.read_text(encoding="utf-8")
    return json.loads(re.sub(r"(?<![\w\"])-?nan(?![\w\"])", "NaN", text))


def _probabilities(path: Path, card: Card) -> NDArray[np.float32]:
    outputs = {row["name"]: row for row in _read(path)}
    row = outputs[card.output.name]
    dimensions = [int(n) for n in row["dimensions"].split("x")]
    return np.asarray(row["values"], dtype=np.float32).reshape(dimensions)
