"""The machine that is verified: its commands, its GPU, its server, and what was measured on it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from xpnet.errors import UserError
from xpnet.host.gpu import describe_gpu
from xpnet.host.nvidia_software import look
from xpnet.paths import MODEL_REPOSITORY, ROOT
from xpnet.serving.triton_server import (
    ServerSettings,
    TritonServer,
    find_tritonserver,
    running_server,
    servable_models,
)

COMMAND_S = 900.0
"""A command that takes longer hangs; building a plan on a Jetson takes minutes."""


class Skipped(Exception):
    """A part that cannot run on this machine, with the reason."""


@dataclass(frozen=True)
class Figure:
    """Something measured, about which nothing is claimed."""

    name: str
    value: float
    unit: str
    how: str


@dataclass
class Site:
    """One verification of one machine; closed by `close`."""

    repository: Path = MODEL_REPOSITORY
    figures: list[Figure] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stack = ExitStack()
        self.folder = Path(self._stack.enter_context(TemporaryDirectory(prefix="xpnet-verify-")))
        self._kept: dict[str, Any] = {}

    def close(self) -> None:
        """Stops the server and removes what the checks wrote."""
        self._stack.close()

    @property
    def target(self) -> str:
        """`rtx` or `jetson`, as `xpnet build` names them."""
        return "jetson" if look().jetson else "rtx"

    def gpu(self) -> dict[str, str]:
        """GPU and driver. Raises Skipped where there is none."""
        if self.target == "rtx" and shutil.which("nvidia-smi") is None:
            raise Skipped("no NVIDIA driver on this machine: no nvidia-smi")
        try:
            return describe_gpu(self.target)
        except UserError as error:
            raise Skipped(str(error)) from error

    def program(self, name: str, comes_with: str) -> str:
        """A program on PATH. Raises Skipped where it is not there."""
        found = shutil.which(name)
        if found is None:
            raise Skipped(f"no {name} on this machine: it comes with {comes_with}")
        return found

    def figure(self, name: str, value: float, unit: str, how: str) -> None:
        """Notes a measured figure for the report."""
        self.figures.append(Figure(name, round(value, 2), unit, how))

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """What `make` gives, made at the first call; an error is raised again at each."""
        if name not in self._kept:
            try:
                self._kept[name] = make()
            except (Skipped, UserError) as error:
                self._kept[name] = error
        kept = self._kept[name]
        if isinstance(kept, Exception):
            raise kept
        return kept

    def server(self) -> TritonServer:
        """A server of our own with every model that this machine can serve, started once."""

        def start() -> TritonServer:
            own = ServerSettings(
                self.repository, self.servable(), http_port=0, grpc_port=0, metrics_port=0
            )
            return self._stack.enter_context(running_server(own))

        server: TritonServer = self.once("server", start)
        return server

    def servable(self) -> tuple[str, ...]:
        """The models; plans only where the server has NVIDIA's backend for them."""
        _, backends = find_tritonserver()
        plans = (backends / "tensorrt").is_dir()
        return tuple(
            name
            for name in servable_models(self.repository, ())
            if plans or not (self.repository / name / "1" / "model.plan").is_file()
        )

    def start_xpnet(self, *arguments: object) -> subprocess.Popen[str]:
        """Starts `xpnet ARGUMENTS` in the scratch folder."""
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        return subprocess.Popen(
            [sys.executable, "-m", "xpnet.cli", *map(str, arguments)],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def xpnet(self, *arguments: object) -> str:
        """Runs `xpnet ARGUMENTS`; returns what it printed.

        Raises:
            UserError: it ended with another code than 0, with its last line.
        """
        process = self.start_xpnet(*arguments)
        try:
            printed, errors = process.communicate(timeout=COMMAND_S)
        except subprocess.TimeoutExpired as error:
            raise UserError(f"xpnet {arguments[0]}: no end within {COMMAND_S:g} s") from error
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
        if process.returncode:
            said = (errors.strip() or printed.strip() or "it said nothing").splitlines()[-1]
            raise UserError(f"xpnet {arguments[0]}: exit code {process.returncode}: {said}")
        return printed

    def graph(self, name: str, *options: object) -> dict[str, Any]:
        """Runs the graph on a clip into NAME.mp4 of the scratch folder; its summary."""
        summary = self.folder / f"{name}.json"
        video = self.folder / f"{name}.mp4"
        self.xpnet("run", *options, "--output", video, "--json", summary)
        found: dict[str, Any] = json.loads(summary.read_text(encoding="utf-8"))
        return found
