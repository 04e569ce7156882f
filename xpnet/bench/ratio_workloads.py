"""What `xpnet bench check` times: networks, the steps around them, and a plain copy.

Everything runs on one thread and counts as processor time, not as time of the clock: so it hardly
matters how many cores there are and what else runs on them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain, cycle, islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from xpnet.card import METADATA_KEY, Card, parse_card
from xpnet.errors import UserError
from xpnet.frames import Frame, frame_to_tensor, probabilities_to_mask, resize_frame
from xpnet.images import clip_frames, sample_frames
from xpnet.overlay import OverlayStyle, Plane, draw_on_planes, outline_of
from xpnet.paths import DEMO_CLIP, onnx_path
from xpnet.serving.cpu_runtimes import open_model

Workload = Callable[[], Any]
FULL_HD = (1080, 1920)
UNET_SIZE = 256
SHORTEST_S = 0.03
"""A workload is repeated in a round until it takes as long: the clock of a process is coarse."""
CLIP_FRAMES = 5
"""Frames of the clip that one call of the workload `clip to masks` handles."""
AREA = (960, 540), (330, 260)
"""Centre and half axes of the drawn mask in pixels: about an eighth of the frame, a large polyp."""


class Workloads:
    """Everything that can be timed here: seconds a frame are those of a call over `frames`.

    Attributes:
        calls: What to call, by name.
        frames: Frames that one call handles, by name, where it is not one.
        missing: Lines that name what cannot be timed here, and why.
    """

    def __init__(self, repository: Path, unet: Path | None, clip: Path = DEMO_CLIP) -> None:
        """Load the models and prepare the frames.

        Args:
            repository: The Triton model repository.
            unet: The U-Net's FP32 graph, or None if there is none.
            clip: Where the frames come from.

        Raises:
            UserError: The clip cannot be read.
        """
        self.calls: dict[str, Workload] = {}
        self.frames: dict[str, int] = {}
        self.missing: list[str] = []
        frame = sample_frames(clip, 3)[1]
        if unet:
            self._add_network("unet fp32", unet, "onnxruntime", None, frame)
        served = onnx_path(repository / "xpnet_lite_onnx")
        student = onnx_path(repository / "xpnet_onnx")
        lite = self._add_network("lite fp32", served, "onnxruntime", None, frame)
        self._add_network("student fp32", student, "onnxruntime", None, frame)
        self._add_network("lite openvino", served, "openvino", None, frame)
        self._add_network("student openvino", student, "openvino", None, frame)
        self._add_network("lite openvino fp32", served, "openvino", "fp32", frame)
        quantised = repository / "xpnet_lite" / "onnx" / "int8.onnx"
        self._add_network("lite int8", quantised, "openvino", "fp32", frame)
        if lite:
            self._add_steps(*lite, frame, clip)
        self._add_drawing(frame)

    def _add_network(
        self, name: str, path: Path, runtime: str, precision: str | None, frame: Frame
    ) -> tuple[Callable[[NDArray[np.float32]], NDArray[Any]], Card] | None:
        """Add a network; return what runs it on a tensor, and its card, or None if it is missing.

        A card inside the file is expected, as `xpnet export` writes it.
        """
        try:
            model = open_model(path, runtime, threads=1, precision=precision)
        except UserError as error:
            self.missing.append(f"{name}: {error}")
            return None
        card = parse_card(model.metadata[METADATA_KEY], str(path))
        tensor = frame_to_tensor(frame, card.input.height, card.input.width)

        def run(given: NDArray[np.float32]) -> NDArray[Any]:
            return np.asarray(model.run([card.output.name], {card.input.name: given})[0])

        self.calls[name] = lambda: run(tensor)
        return run, card

    def _add_steps(
        self,
        run: Callable[[NDArray[np.float32]], NDArray[Any]],
        card: Card,
        frame: Frame,
        clip: Path,
    ) -> None:
        size = card.input.height, card.input.width
        large = resize_frame(frame, *FULL_HD)
        # A map with a polyp: one without would leave the scaling out.
        small = np.full(size, 0.1, np.float32)
        small[size[0] // 3 : size[0] // 2, size[1] // 3 : size[1] // 2] = 0.9
        self.calls["preprocess"] = lambda: frame_to_tensor(large, *size)
        self.calls["mask"] = lambda: probabilities_to_mask(
            small, *FULL_HD, card.threshold, card.peak
        )
        source = chain.from_iterable(clip_frames(clip) for _ in cycle([None]))

        def clip_to_masks() -> None:
            for picture in islice(source, CLIP_FRAMES):
                height, width = picture.shape[:2]
                found = run(frame_to_tensor(picture, *size))[0, 0]
                probabilities_to_mask(found, height, width, card.threshold, card.peak)

        self.calls["clip to masks"] = clip_to_masks
        self.frames["clip to masks"] = CLIP_FRAMES

    def _add_drawing(self, frame: Frame) -> None:
        height, width = FULL_HD
        yuv = cv2.cvtColor(resize_frame(frame, height, width), cv2.COLOR_RGB2YUV_I420)
        pixels = [
            np.ascontiguousarray(yuv[:height]),
            *np.ascontiguousarray(yuv[height:]).reshape(2, height // 2, width // 2),
        ]
        planes = [
            Plane(plane, (value,)) for plane, value in zip(pixels, (150, 170, 60), strict=True)
        ]
        copies = [np.empty_like(plane) for plane in pixels]
        mask = np.zeros(FULL_HD, np.uint8)
        cv2.ellipse(mask, *AREA, 0, 0, 360, (1,), -1)
        style = OverlayStyle()
        outline = outline_of(mask, style.shape)

        def copy() -> None:
            for to, plane in zip(copies, pixels, strict=True):
                np.copyto(to, plane)

        self.calls["copy"] = copy
        self.calls["outline"] = lambda: outline_of(mask, style.shape)
        self.calls["overlay"] = lambda: draw_on_planes(planes, mask, style, outline)


def time_workloads(workloads: Workloads, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of processor time a frame of each workload in each round.

    Every round runs each workload once, every second round in reverse order, so that a slower phase
    of the machine affects all alike.

    Args:
        workloads: What to time.
        rounds: Number of rounds; one before them is a warm-up.
    """
    names = list(workloads.calls)
    times: dict[str, list[float]] = {name: [] for name in names}
    with one_thread():
        repeats = {name: _repeats(workloads.calls[name]) for name in names}
        for number in range(rounds):
            for name in names if number % 2 else reversed(names):
                seconds = _processor_time(workloads.calls[name], repeats[name])
                times[name].append(seconds / repeats[name] / workloads.frames.get(name, 1))
    return times


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep OpenCV in the calling thread during the `with` block."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def _repeats(call: Workload) -> int:
    """Return how often to call a workload in a round; the first calls also warm it up."""
    call()
    seconds = min(_processor_time(call, 1) for _ in range(2))
    return max(1, round(SHORTEST_S / max(seconds, 1e-6)))


def _processor_time(call: Workload, times: int) -> float:
    started = time.process_time()
    for _ in range(times):
        call()
    return time.process_time() - started
