"""What `xpnet run --control` adds to a run: saved choices, HTTP service, keys of the window."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepstream.control.appearance import Appearance
from deepstream.control.controls import Controls, default_settings_file
from deepstream.control.http_service import ServiceSettings, running_service
from deepstream.control.preview import Preview
from deepstream.control.state import RunState
from deepstream.platforms.base import OpenPlatform
from deepstream.recording.recorder import Recorder

log = logging.getLogger("xpnet.control")


@dataclass(frozen=True)
class ControlSettings:
    """How a run is controlled.

    Attributes:
        service: Where the HTTP service listens.
        file: Where the choices are saved and restored from; None for the user's configuration.
    """

    service: ServiceSettings = field(default_factory=ServiceSettings)
    file: Path | None = None


def open_controls(appearance: Appearance, settings: ControlSettings | None) -> Controls:
    """Return the choices of a run; with control, those that were saved.

    Args:
        appearance: The choices of the command line; saved ones take precedence.
        settings: How the run is controlled, or None.
    """
    if settings is None:
        return Controls(appearance)
    controls = Controls(appearance, settings.file or default_settings_file())
    controls.restore()
    return controls


@contextmanager
def running_control(
    settings: ControlSettings,
    controls: Controls,
    preview: Preview,
    recorder: Recorder | None,
    opened: OpenPlatform,
    facts: dict[str, Any],
) -> Iterator[None]:
    """Run the HTTP service for the time of the `with` block.

    Args:
        settings: How the run is controlled.
        controls: Its choices.
        preview: Copies frames.
        recorder: Records what is shown, or None.
        opened: The platform with its probes.
        facts: What the state says of the run and does not change.
    """
    facts = {**facts, "model_threshold": opened.card.threshold}
    state = RunState(opened.probes.statistics, controls, opened.incidents, facts, recorder)
    with running_service(settings.service, state, preview) as (host, port):
        log.warning("control: http://%s:%d/", host, port)
        yield
