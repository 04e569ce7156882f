"""Build and run plans with TensorRT's command line program trtexec.

Source: NVIDIA's trtexec of TensorRT 10.0 to 11.1. Options and what they set: sampleOptions.cpp and
sampleEngines.cpp. Files that it writes: sampleReporting.cpp. Version in its first line: logging.h.
How it ends without a GPU: sampleDevice.cpp.
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

from xpnet.card import Card, max_plan_batch
from xpnet.errors import UserError
from xpnet.host.processes import set_parent_death_signal

INSTALL_DIRECTORY = "/usr/src/tensorrt/bin"
"""Directory of trtexec in JetPack and in NVIDIA's containers, where it is not on PATH."""


def find_trtexec() -> str | None:
    """Return the path of trtexec, or None if it is not installed."""
    return shutil.which("trtexec") or shutil.which("trtexec", path=INSTALL_DIRECTORY)


class Trtexec:
    """`xpnet.tensorrt.plan_backend.PlanBackend` for the program trtexec."""

    def __init__(self, program: str) -> None:
        """Read the version of TensorRT from `trtexec --help`.

        Args:
            program: Path of trtexec.

        Raises:
            UserError: The program cannot be run, or prints no version.
        """
        self._program = program
        output = self._run(["--help"], "print its version")
        match = re.search(r"\[TensorRT v(\d+)\]", output)
        if match is None:
            raise UserError(f"{program} --help: no version found, expected '[TensorRT v...]'")
        number = int(match[1])
        # 100600 is 10.6.0. TensorRT 8 and older use other factors: 8601 is 8.6.1.
        factor = 100 if number >= 100_000 else 10
        self._major, rest = divmod(number, 10_000 if factor == 100 else 1_000)
        self.version = f"{self._major}.{rest // 100}.{rest % 100}"

    def describe_timing(self, dla: int | None) -> str:
        """Describe what the measured latency includes; see `PlanBackend`."""
        return f"trtexec, {'with' if dla is None else 'without'} CUDA graphs, copies included"

    def build(self, onnx: Path, card: Card, output: Path, dla: int | None, cache: Path) -> None:
        """Build a plan from an ONNX file; see `PlanBackend`."""
        name, (_, *sizes) = card.input.name, card.input.shape
        one, most = (f"{name}:{n}x{'x'.join(map(str, sizes))}" for n in (1, max_plan_batch(dla)))
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
            options.append("--stronglyTyped")  # the only mode of TensorRT 11, which ignores it
        else:
            # For the DLA, trtexec 10 sets the FP16 flag, which strongly typed networks do not
            # allow.
            options += [f"--useDLACore={dla}", "--allowGPUFallback"]
        self._run(options, f"build a plan of {onnx}")

    def run(
        self, plan: Path, card: Card, tensors: list[NDArray[np.float32]], dla: int | None
    ) -> tuple[NDArray[np.float32], float]:
        """Run a plan on some frames and time it; see `PlanBackend`."""
        shape = "x".join(str(n) for n in tensors[0].shape)
        mode = ["--useCudaGraph"] if dla is None else [f"--useDLACore={dla}"]
        if self._major >= 11:  # its timing excludes the copies by default
            mode.append("--includeDataTransfers")
        probabilities, latencies_ms = [], []
        with tempfile.TemporaryDirectory() as directory:
            input_file, output_file, times_file = (
                Path(directory) / name for name in ("in.bin", "out.json", "times.json")
            )
            for tensor in tensors:
                tensor.tofile(input_file)
                self._run(
                    [
                        f"--loadEngine={plan}",
                        f"--shapes={card.input.name}:{shape}",
                        f"--loadInputs={card.input.name}:{input_file}",
                        f"--exportOutput={output_file}",
                        f"--exportTimes={times_file}",
                        "--duration=1",
                        *mode,
                    ],
                    f"run {plan}",
                )
                try:
                    probabilities.append(_read_probabilities(output_file, card))
                    latencies_ms += [float(row["latencyMs"]) for row in _read_json(times_file)]
                except (OSError, ValueError, KeyError, TypeError) as error:
                    reason = f"unexpected output ({error})"
                    raise UserError(f"trtexec cannot run {plan}: {reason}") from error
        return np.concatenate(probabilities), float(np.median(latencies_ms))

    def _run(self, options: list[str], action: str) -> str:
        """Run trtexec and return its output; `action` completes the error "trtexec cannot ..."."""
        try:
            result = subprocess.run(
                [self._program, *options],
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                preexec_fn=set_parent_death_signal,
            )
        except OSError as error:  # for example, a program for another architecture
            raise UserError(f"{self._program}: cannot be run: {error.strerror}") from error
        output = result.stdout + result.stderr
        if result.returncode:
            reason = _failure_reason(output, result.returncode)
            raise UserError(f"trtexec cannot {action}: {reason}")
        return output


def _failure_reason(output: str, code: int) -> str:
    """Return the first error line of trtexec, or its last line if there is no error line.

    Without a GPU it ends with a line that is not marked as an error.
    """
    if code == -signal.SIGKILL:
        return "killed by SIGKILL, possibly because memory ran out"
    lines = [line for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if "[E]" in line]
    unmarked = [line for line in lines if not re.search(r"^&&&& |\[[IW]\]", line)]
    reason = (errors[:1] or unmarked[-1:] or lines[-1:] or ["it printed nothing"])[0].strip()
    reason = re.sub(r"^\[[\d/:-]+\] \[[EIW]\] (\[TRT\] )?", "", reason)
    return f"killed by {signal.Signals(-code).name}: {reason}" if code < 0 else reason


def _read_json(path: Path) -> Any:
    """Read a JSON file of trtexec, in which a number may be `nan`, as C++ writes it."""
    text = path.read_text(encoding="utf-8")
    return json.loads(re.sub(r"(?<![\w\"])-?nan(?![\w\"])", "NaN", text))


def _read_probabilities(path: Path, card: Card) -> NDArray[np.float32]:
    outputs = {row["name"]: row for row in _read_json(path)}
    row = outputs[card.output.name]
    dimensions = [int(n) for n in row["dimensions"].split("x")]
    return np.asarray(row["values"], dtype=np.float32).reshape(dimensions)
