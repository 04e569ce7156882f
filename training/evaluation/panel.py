"""`xpnet evaluate panel`: frame, true mask, and the mask of each model, one row for each frame.

It follows the paper's Figure 3. A model's mask is drawn as in the live video, the true mask as a
thin line, so that missed polyps and false positives are visible at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from training.data.readers import DataSet, Sample
from training.evaluation.scoring import evaluate, metrics
from xpnet.errors import UserError
from xpnet.files import replacing
from xpnet.frames import Frame, Mask, frame_to_tensor, probabilities_to_mask, resize_frame
from xpnet.inference import Inference, InferenceError
from xpnet.overlay import OverlayStyle, draw_mask

CELL = 240
"""Height of a cell in pixels; its width follows the shape of the first frame."""
GAP = 6
HEAD = 34
TRUTH = (255, 255, 255)


def draw(
    source: DataSet,
    split: str | None,
    models: dict[str, Inference],
    stems: list[str],
    worst: int,
) -> tuple[Frame, list[str]]:
    """Draw the panel.

    Args:
        source: The data set.
        split: Its split, or None for all frames.
        models: Inference by title of the column.
        stems: Names of the frames; empty to choose by `worst`.
        worst: Number of frames with the lowest Dice of the last model, which then scores the split.

    Returns:
        H x W x 3 RGB, and for each frame a line with the Dice of each model.

    Raises:
        UserError: A frame is missing, or inference fails.
    """
    samples = _named(source, split, stems) if stems else _worst(source, split, models, worst)
    first = samples[0].pair.read_frame()
    width = round(CELL * first.shape[1] / first.shape[0])
    rows, lines = [], []
    for sample in samples:
        frame, true = sample.pair.read_frame(), sample.pair.read_mask()
        if frame.shape[:2] != true.shape:
            raise UserError(f"{sample.pair.mask}: has another size than its frame")
        cells = [_cell(frame, None, None, width), _cell(frame, true, None, width)]
        found = []
        for name, model in models.items():
            mask = _mask(model, frame)
            dice = metrics.scores([metrics.counts(mask, true)])["dice"]
            found.append(f"{name} {dice:.3f}")
            cells.append(_cell(frame, mask, true, width))
        rows.append(_beside(cells))
        lines.append(f"{sample.pair.stem}: Dice {', '.join(found)}")
    titles = _titles(["frame", "truth", *models], width)
    return np.vstack([titles, *_spaced(rows)]), lines


def write_picture(picture: Frame, path: Path) -> None:
    """Write a picture in the format of the path's suffix, through a temporary file.

    Args:
        picture: H x W x 3 uint8 RGB.
        path: File to write.

    Raises:
        UserError: OpenCV cannot write the format, or the file cannot be written.
    """
    try:
        done, content = cv2.imencode(path.suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    except cv2.error:
        done = False
    if not done:
        raise UserError(f"{path}: expected a name that ends in .png or .jpg")
    with replacing(path) as partial:
        partial.write_bytes(content.tobytes())


def _named(source: DataSet, split: str | None, stems: list[str]) -> list[Sample]:
    by_stem = {s.pair.stem: s for s in source.in_split(split)}
    for stem in stems:
        if stem not in by_stem:
            raise UserError(f"{source.root}: no frame '{stem}' among {len(by_stem)}")
    return [by_stem[stem] for stem in stems]


def _worst(
    source: DataSet, split: str | None, models: dict[str, Inference], number: int
) -> list[Sample]:
    last = list(models.values())[-1]
    _, scored = evaluate(last, source, split)
    dice = [metrics.scores([c])["dice"] for c in scored.counts]
    order = np.argsort(np.array(dice, dtype=np.float64), kind="stable")
    return [scored.samples[i] for i in order[:number]]


def _mask(model: Inference, frame: Frame) -> Mask:
    card = model.card
    tensor = frame_to_tensor(frame, card.input.height, card.input.width)
    try:
        probabilities = model.submit(tensor).result()
    except InferenceError as error:
        raise UserError(f"inference failed: {error}") from error
    height, width = frame.shape[:2]
    return probabilities_to_mask(probabilities, height, width, card.threshold, card.peak)


def _cell(frame: Frame, mask: Mask | None, truth: Mask | None, width: int) -> Frame:
    small = resize_frame(frame, CELL, width).copy()
    if mask is not None:
        draw_mask(small, _resized(mask, width), OverlayStyle())
    if truth is not None:
        contours, _ = cv2.findContours(
            _resized(truth, width), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        cv2.drawContours(small, contours, -1, TRUTH, 1, cv2.LINE_AA)
    return small


def _resized(mask: Mask, width: int) -> Mask:
    return (cv2.resize(mask * 255, (width, CELL), interpolation=cv2.INTER_AREA) > 127).astype(
        np.uint8
    )


def _beside(cells: Sequence[Frame]) -> Frame:
    gap = np.full((cells[0].shape[0], GAP, 3), 255, np.uint8)
    parts = [cells[0]]
    for cell in cells[1:]:
        parts += [gap, cell]
    return np.hstack(parts)


def _spaced(rows: list[Frame]) -> list[Frame]:
    gap = np.full((GAP, rows[0].shape[1], 3), 255, np.uint8)
    return [part for row in rows for part in (row, gap)][:-1]


def _titles(names: list[str], width: int) -> Frame:
    cells = []
    for name in names:
        cell = np.full((HEAD, width, 3), 255, np.uint8)
        scale = min(0.7, 0.7 * (width - 8) / max(1, cv2.getTextSize(name, 0, 0.7, 1)[0][0]))
        cv2.putText(cell, name, (4, HEAD - 11), 0, scale, (0, 0, 0), 1, cv2.LINE_AA)
        cells.append(cell)
    return _beside(cells)
