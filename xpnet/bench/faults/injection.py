"""What every fault of `xpnet bench faults` has in common."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xpnet.bench.live_run import LiveRun, live_run
from xpnet.errors import UserError
from xpnet.paths import DEMO_CLIP, MODEL_REPOSITORY
from xpnet.serving.model_config import DEFAULT_MODEL
from xpnet.serving.triton_server import ServerSettings, TritonServer, running_server

NOTICE_S = 20.0
"""Longest wait until the run's state shows a fault."""
HOLD_S = 1.5
"""How long a fault lasts after it was noticed, where the benchmark decides."""
RESTART_S = 60.0
"""Longest wait for a server or camera that comes back."""


@dataclass(frozen=True)
class FaultSettings:
    """What is injected.

    Attributes:
        times: How often each fault is injected.
        only: Names of the faults; empty for all.
        clip: What the live source plays.
        height: Height of the frames in pixels.
        width: Width of the frames in pixels.
        max_mask_age_ms: As of `xpnet run`; a slow machine has no masks younger than the default.

    Raises:
        UserError: Not once.
    """

    times: int = 10
    only: tuple[str, ...] = ()
    clip: Path = DEMO_CLIP
    height: int = 720
    width: int = 1280
    max_mask_age_ms: float = 150

    def __post_init__(self) -> None:
        if self.times < 1:
            raise UserError(f"--times {self.times}: expected at least 1")

    @property
    def source(self) -> str:
        """The live source as the input of `xpnet run`."""
        return f"live:{self.clip}"

    @property
    def options(self) -> tuple[str, ...]:
        """Frame size and age of masks as options of `xpnet run`."""
        size = ("--height", str(self.height), "--width", str(self.width))
        return (*size, "--max-mask-age", str(self.max_mask_age_ms))


def has_no_masks(state: dict[str, Any]) -> bool:
    """Return whether the state says that there are no recent masks."""
    return bool(state["assistant"] == "not available")


class Injection:
    """A fault that can be injected into one run; by default it shows as missing masks.

    Attributes:
        run: The run.
        is_noticed: Returns whether a state shows the fault; None if there is nothing to show.
    """

    is_noticed: Callable[[dict[str, Any]], bool] | None = staticmethod(has_no_masks)

    def __init__(self, run: LiveRun) -> None:
        self.run = run

    def inject(self) -> None:
        """Cause the fault; returns at once, unless it is over when this returns."""
        raise NotImplementedError

    def end(self) -> None:
        """End the cause, or wait until it has ended."""
        time.sleep(HOLD_S)


@dataclass(frozen=True)
class Fault:
    """A kind of fault.

    Attributes:
        name: Its name in the table.
        opened: Starts a run into which it can be injected, for the time of a `with` block.
        missing: Returns what this machine lacks for it; empty if nothing.
    """

    name: str
    opened: Callable[[FaultSettings], AbstractContextManager[Injection]]
    missing: Callable[[], str] = str


def seeded() -> random.Random:
    """Return the source of randomness of a fault: each run of the benchmark injects the same."""
    return random.Random(7)


@contextmanager
def run_with_server(
    settings: FaultSettings,
    repository: Path = MODEL_REPOSITORY,
    options: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
) -> Iterator[tuple[LiveRun, TritonServer]]:
    """Start a Triton server on free ports, and a live run that gets its address by `--url`.

    Args:
        settings: Source and frame size of the run.
        repository: What the server serves.
        options: Further options of `xpnet run`.
        environ: Environment variables to add to the run, not to the server.

    Raises:
        UserError: One of them does not start.
    """
    served = ServerSettings(
        repository, (DEFAULT_MODEL,), http_port=0, grpc_port=0, metrics_port=0
    )  # fmt: skip
    with running_server(served) as server:
        options = (*settings.options, "--url", server.grpc_url, *options)
        with live_run(settings.source, options, environ=environ) as run:
            yield run, server
