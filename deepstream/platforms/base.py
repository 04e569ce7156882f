"""What `deepstream.run` needs from a platform, and what it gives to it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from deepstream.control.controls import Controls
from deepstream.control.preview import Preview
from deepstream.graph.description import Description
from deepstream.io.output import Output, SinkProperties
from deepstream.io.source import VideoSource
from deepstream.probes.base import Probes
from deepstream.probes.polyp_results import PolypResults
from deepstream.recording.recorder import Recorder
from xpnet.card import Card
from xpnet.frames import Segmentation

OnMask = Callable[[Segmentation], None]
"""Called with the Segmentation of every frame drawn, in the overlay's thread."""


@dataclass(frozen=True)
class Model:
    """A model of the repository.

    Attributes:
        repository: The Triton model repository.
        name: The model's folder in it.
    """

    repository: Path
    name: str

    @property
    def folder(self) -> Path:
        """The model's folder."""
        return self.repository / self.name


@dataclass(frozen=True)
class Drawing:
    """What happens to a frame's mask.

    Attributes:
        controls: What is drawn, and how; may change at any time.
        on_mask: Called with every mask drawn, or None.
        results: Gets every frame's polyps, or None.
        max_mask_age_s: In mode `latest`, by how many seconds a mask may be older than a frame.
        preview: Copies frames for the HTTP service, or None.
        recorder: Records what is shown, or None.
    """

    controls: Controls
    on_mask: OnMask | None
    results: PolypResults | None
    max_mask_age_s: float
    preview: Preview | None = None
    recorder: Recorder | None = None


@dataclass(frozen=True)
class OpenPlatform:
    """A platform with its inference running.

    Attributes:
        card: The card of the model that computes the masks.
        probes: The handlers of the graph's pad probes.
        describe: Makes the description of the graph from the properties of the opened sink;
            its second argument is False for a graph without inference.
        incidents: Returns counts of what happened to inference so far, for the summary.
    """

    card: Card
    probes: Probes
    describe: Callable[[SinkProperties, bool], Description]
    incidents: Callable[[], dict[str, int]] = dict


class Platform(Protocol):
    """One platform on this machine; making it checks the machine.

    Attributes:
        name: One of xpnet.platforms.GRAPHS.
        backend: What computes the masks, for the summary.
        default_model: The model that is used unless the settings name one.
        rotates_video: Whether the graph turns a video as its metadata says.
        interval: Frames without inference after each frame with inference.
    """

    name: str
    backend: str
    default_model: str
    rotates_video: bool
    interval: int

    def open(
        self, source: VideoSource, output: Output, model: Model, drawing: Drawing
    ) -> AbstractContextManager[OpenPlatform]:
        """Load the model or connect to its server, for the time of the `with` block.

        Args:
            source: The opened source.
            output: The checked output, not yet opened.
            model: The model that computes the masks.
            drawing: What happens to the masks.

        Raises:
            UserError: The model, its server or the source cannot be used on this platform.
        """

    def adjust_source(self, source: VideoSource) -> VideoSource:
        """Return the source with the frame size that this platform draws on."""
