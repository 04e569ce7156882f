"""State and tools that the checks of one verification share."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from xpnet.card import read_card
from xpnet.diagnostics.reference_masks import (
    ReferenceMasks,
    load_reference_masks,
    read_reference_frames,
)
from xpnet.errors import UserError
from xpnet.frames import Frame
from xpnet.host.gpu import describe_gpu
from xpnet.host.nvidia_software import detect_nvidia_software
from xpnet.paths import DEMO_CLIP, MODEL_REPOSITORY, PACKAGES, card_path, onnx_path, plan_path
from xpnet.serving.model_config import DEFAULT_MODEL, FRAME_MODEL, onnx_name
from xpnet.serving.triton_server import (
    ServerSettings,
    TritonServer,
    find_tritonserver,
    running_server,
    servable_models,
)

COMMAND_TIMEOUT_S = 900.0
"""A command that takes longer is stuck; building a plan on a Jetson takes minutes."""

CheckResult = tuple[bool, str]
"""Whether the claim is true on this machine, and what was found."""


class CheckSkipped(Exception):
    """A check cannot run on this machine; the message is the reason."""


@dataclass(frozen=True)
class MeasuredValue:
    """A value that a check measured, without an expected value.

    Attributes:
        name: What was measured.
        value: The value, rounded to two decimals.
        unit: Unit of the value.
        how: How it was measured.
    """

    name: str
    value: float
    unit: str
    how: str


class CheckContext:
    """What the checks of one verification share; `close` it at the end.

    Attributes:
        repository: The Triton model repository.
        work_dir: Folder for the files of the checks; `close` removes it.
        measured: The values that the checks measured.
    """

    def __init__(self, repository: Path = MODEL_REPOSITORY) -> None:
        self.repository = repository
        self.measured: list[MeasuredValue] = []
        self._stack = ExitStack()
        self.work_dir = Path(self._stack.enter_context(TemporaryDirectory(prefix="xpnet-verify-")))
        self._cache: dict[str, Any] = {}

    def close(self) -> None:
        """Stop the server and remove the files of the checks."""
        self._stack.close()

    @property
    def target(self) -> str:
        """`rtx` or `jetson`, as in `xpnet build --target`."""
        return "jetson" if detect_nvidia_software().jetson else "rtx"

    @property
    def repository_option(self) -> tuple[str, Path]:
        """The option that makes a command use this repository; commands run in `work_dir`."""
        return "--repository", self.repository.absolute()

    def require_gpu(self) -> dict[str, str]:
        """Return GPU and driver. Raises CheckSkipped if there is no NVIDIA GPU."""
        if self.target == "rtx" and shutil.which("nvidia-smi") is None:
            raise CheckSkipped("no NVIDIA driver on this machine: nvidia-smi is missing")
        try:
            return describe_gpu(self.target)
        except UserError as error:
            raise CheckSkipped(str(error)) from error

    def require_program(self, name: str, package: str) -> str:
        """Return the path of a program on PATH. Raises CheckSkipped if it is not installed.

        Args:
            name: Name of the program.
            package: What installs it, for the message.
        """
        path = shutil.which(name)
        if path is None:
            raise CheckSkipped(f"{name} is not installed: {package} contains it")
        return path

    def add_measured(self, name: str, value: float, unit: str, how: str) -> None:
        """Add a measured value to the report; see `MeasuredValue` for the arguments."""
        self.measured.append(MeasuredValue(name, round(value, 2), unit, how))

    def cached(self, key: str, compute: Callable[[], Any]) -> Any:
        """Return the result of `compute`, which is called once for each key.

        Args:
            key: Name of the result.
            compute: Called if there is no result yet. If it raises CheckSkipped or UserError, the
                same error is raised again at every later call.
        """
        if key not in self._cache:
            try:
                self._cache[key] = compute()
            except (CheckSkipped, UserError) as error:
                self._cache[key] = error
        result = self._cache[key]
        if isinstance(result, Exception):
            raise result
        return result

    def reference_frames(self) -> dict[int, Frame]:
        """Return the frames of the demo clip that have reference masks, by frame number."""
        frames: dict[int, Frame] = self.cached(
            "reference frames", lambda: read_reference_frames(DEMO_CLIP)
        )
        return frames

    def reference_masks(self, model: str) -> ReferenceMasks:
        """Return the reference masks for a served model.

        A plan has those of the ONNX model of the same network; `xpnet_frame` has those of the
        default model.

        Args:
            model: Name of the model in the repository.

        Raises:
            UserError: The masks are missing or are not of the served weights.
        """
        card = card_path(self.repository / model)
        if model == FRAME_MODEL:
            model = DEFAULT_MODEL
        elif card.is_file() and not model.endswith("_onnx"):
            model = onnx_name(read_card(card))
        return load_reference_masks(self.repository, model)

    def onnx_models(self) -> list[str]:
        """Return the names of the models that are served as ONNX."""
        folders = sorted(p for p in self.repository.iterdir() if p.is_dir())
        return [folder.name for folder in folders if onnx_path(folder).is_file()]

    def server(self) -> TritonServer:
        """Return a server with every model that this machine can serve; it is started once."""

        def start() -> TritonServer:
            settings = ServerSettings(
                self.repository, self._servable_models(), http_port=0, grpc_port=0, metrics_port=0
            )
            return self._stack.enter_context(running_server(settings))

        server: TritonServer = self.cached("server", start)
        return server

    def _servable_models(self) -> tuple[str, ...]:
        """Return the models to serve; plans only if the server has NVIDIA's TensorRT backend."""
        _, backends = find_tritonserver()
        has_tensorrt = (backends / "tensorrt").is_dir()
        return tuple(
            name
            for name in servable_models(self.repository, ())
            if has_tensorrt or not plan_path(self.repository / name).is_file()
        )

    def start_xpnet(self, *arguments: object) -> subprocess.Popen[str]:
        """Start `xpnet ARGUMENTS` in the work folder and return the process."""
        paths = [str(PACKAGES), *filter(None, [os.environ.get("PYTHONPATH")])]
        return subprocess.Popen(
            [sys.executable, "-m", "xpnet.cli", *map(str, arguments)],
            cwd=self.work_dir,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run_xpnet(self, *arguments: object) -> str:
        """Run `xpnet ARGUMENTS` in the work folder and return its standard output.

        Args:
            *arguments: The arguments of the command.

        Raises:
            UserError: The command failed or took too long; the message has its last line.
        """
        process = self.start_xpnet(*arguments)
        try:
            output, errors = process.communicate(timeout=COMMAND_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise UserError(
                f"xpnet {arguments[0]}: did not end within {COMMAND_TIMEOUT_S:g} s"
            ) from error
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
        if process.returncode:
            reason = last_line(output + "\n" + errors)
            raise UserError(f"xpnet {arguments[0]}: exit code {process.returncode}: {reason}")
        return output

    def run_graph(self, name: str, *arguments: object) -> dict[str, Any]:
        """Run `xpnet run ARGUMENTS` into NAME.mp4 in the work folder and return its summary.

        Args:
            name: Stem of the output files.
            *arguments: Input and options of `xpnet run`.

        Returns:
            The summary that `xpnet run --json` writes.

        Raises:
            UserError: The command failed.
        """
        summary_file = self.work_dir / f"{name}.json"
        video = self.work_dir / f"{name}.mp4"
        self.run_xpnet("run", *arguments, "--output", video, "--json", summary_file)
        summary: dict[str, Any] = json.loads(summary_file.read_text(encoding="utf-8"))
        return summary


def last_line(output: str) -> str:
    """Return the last line of a program's output that is not empty, or `no output`."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"
