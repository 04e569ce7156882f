"""Faults of what is connected with a run: a camera that goes away, clients that send nonsense."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from xpnet.bench.camera import Camera
from xpnet.bench.faults.injection import FaultSettings, Injection, seeded
from xpnet.bench.faults.random_messages import send_random_messages
from xpnet.bench.live_run import LiveRun, live_run

ROUTES = (
    "/",
    "/state",
    "/health",
    "/metrics",
    "/preview.jpg",
    "/still.png",
    "/settings",
    "/recorder",
)
"""All routes of a run's HTTP service."""
MESSAGES = 100
"""Random messages to each route in one injection: a thousand in ten."""


class _Unplugged(Injection):
    """A camera whose process is killed, and started again."""

    is_noticed = staticmethod(lambda state: state["source"] == "lost")

    def __init__(self, run: LiveRun, camera: Camera) -> None:
        super().__init__(run)
        self._camera = camera

    def inject(self) -> None:
        self._camera.unplug()

    def end(self) -> None:
        super().end()
        self._camera.plug()


@contextmanager
def unplugged_camera(settings: FaultSettings) -> Iterator[Injection]:
    """Open a run of an RTSP camera that goes away."""
    camera = Camera(settings.clip)
    try:
        with live_run(camera.address, settings.options) as run:
            yield _Unplugged(run, camera)
    finally:
        camera.unplug()


class _RandomMessages(Injection):
    """Messages that no client should send, to each route of the run's HTTP service."""

    is_noticed = None

    def __init__(self, run: LiveRun) -> None:
        super().__init__(run)
        self._chosen = seeded()

    def inject(self) -> None:
        port = int(self.run.address.rpartition(":")[2])
        for path in ROUTES:
            send_random_messages(port, path, MESSAGES, self._chosen)

    def end(self) -> None:
        """Do nothing: the messages are over when `inject` returns."""


@contextmanager
def random_messages(settings: FaultSettings) -> Iterator[Injection]:
    """Open a run that gets random messages."""
    with live_run(settings.source, settings.options) as run:
        yield _RandomMessages(run)
