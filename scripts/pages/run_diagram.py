"""Picture of docs/how-it-works.md: the way of a frame through `xpnet run`."""

from __future__ import annotations

from scripts.pages.svg import BLUE, GREEN, GREY, ORANGE, Drawing

Box = tuple[int, int, tuple[str, ...], str]
"""Left and width in pixels, lines of text, and fill."""
UPPER: tuple[Box, ...] = (
    (20, 130, ("source", "decode, scale"), GREY),
    (190, 90, ("tee", "two ways"), GREY),
    (470, 200, ("overlay probe", "newest mask, signs"), ORANGE),
    (710, 110, ("encode", "or convert"), GREY),
    (850, 140, ("output", "screen, file, RTSP"), GREY),
)
"""The way of the picture."""
LOWER: tuple[Box, ...] = (
    (60, 130, ("queue", "one frame"), GREY),
    (230, 200, ("inference probe", "frame_to_tensor"), BLUE),
    (470, 200, ("Inference", "Triton by gRPC and", "shared memory, or", "in process"), GREEN),
    (710, 210, ("mask", "threshold, confirmation,", "smoothing, region"), BLUE),
)
"""The way of a mask."""


def run() -> str:
    """Draw mode `latest` on plain GStreamer: the picture does not wait for inference.

    Returns:
        SVG.
    """
    drawing = Drawing(1000, 380, "The picture's branch and the branch of inference of xpnet run")
    top, height = 16, 64
    for x, width, lines, fill in UPPER:
        drawing.box((x, top), (width, height), lines, fill)
    middle = top + height / 2
    for start, end in ((150, 190), (280, 470), (670, 710), (820, 850)):
        drawing.arrow([(start, middle), (end, middle)])
    drawing.text((375, middle - 10), "every frame", size=13)
    low = 206
    for x, width, lines, fill in LOWER:
        drawing.box((x, low), (width, 90), lines, fill)
    drawing.arrow([(235, top + height), (235, 146), (125, 146), (125, low)])
    for start, end in ((190, 230), (430, 470), (670, 710)):
        drawing.arrow([(start, low + 45), (end, low + 45)])
    drawing.arrow([(815, low), (815, 146), (570, 146), (570, top + height)])
    drawing.text((580, 136), "newest mask, with its time", anchor="start", size=13)
    drawing.text((135, 138), "newest frame", anchor="start", size=13)
    for number, text in enumerate((
        "If inference fails or stalls, the upper row goes on: there is no recent mask, and a sign.",
        "In mode every, a frame waits for its own mask. On DeepStream nvinferserver infers.",
    )):  # fmt: skip
        drawing.text((20, 340 + number * 22), text, anchor="start", size=13)
    return drawing.as_svg()
