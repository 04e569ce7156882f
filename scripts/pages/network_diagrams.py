"""Pictures of docs/how-it-works.md: the paper's networks, and how they are trained."""

from __future__ import annotations

from scripts.pages.svg import BLUE, GREEN, GREY, ORANGE, Drawing
from training.models.discriminators import HierarchicalDiscriminator
from training.models.networks import BOTTLENECK, TAPS, WIDTHS

TOP, STEP = 16, 76
"""Top of the first level of the U-Net and distance of two levels, in pixels."""


def networks() -> str:
    """Draw the structure that the paper's U-Net, teacher and student share.

    Returns:
        SVG; the channels are those of training.models.networks.
    """
    levels = len(WIDTHS)
    drawing = Drawing(900, 166 + levels * STEP, "U-Net with four levels, EPSA in encoder 1")
    width, height = 180, 50
    for level, channels in enumerate(WIDTHS):
        y, shift = TOP + level * STEP, level * 34
        size = "full size" if level == 0 else f"1/{2**level}"
        for side, x in (("encoder", 60 + shift), ("decoder", 660 - shift)):
            name = f"{side}{level + 1}"
            words = f"{name[:-1]} {level + 1}"
            tap = name in TAPS
            label = f"{words}, EPSA" if name == "encoder1" else words
            drawing.box((x, y), (width, height), (label, f"{channels} channels, {size}"),
                        ORANGE if tap else BLUE)  # fmt: skip
        drawing.arrow([(60 + shift + width, y + 25), (660 - shift, y + 25)], dashed=True)
        below = y + STEP
        if level < levels - 1:
            drawing.arrow([(90 + shift + 60, y + height), (90 + shift + 60, below)])
            drawing.arrow([(810 - shift - 60, below), (810 - shift - 60, y + height)])
    bottom = TOP + levels * STEP
    drawing.box((345, bottom), (210, height),
                ("bottleneck", f"{BOTTLENECK} channels, 1/{2**levels}"))  # fmt: skip
    last = TOP + (levels - 1) * STEP + height
    drawing.arrow([(260, last), (260, bottom + 25), (345, bottom + 25)])
    drawing.arrow([(555, bottom + 25), (640, bottom + 25), (640, last)])
    drawing.arrow([(14, TOP + 25), (60, TOP + 25)])
    drawing.text((14, TOP + 14), "frame", anchor="start", size=13)
    drawing.arrow([(840, TOP + 25), (892, TOP + 25)])
    drawing.text((846, TOP + 14), "map", anchor="start", size=13)
    legend = bottom + height + 30
    for number, text in enumerate((
        "Orange: features that distillation compares. Dashed: skip connections.",
        "U-Net, 7.76 M: two 3x3 convolutions in each box, no EPSA. Teacher, 7.77 M: with EPSA.",
        "Student, 1.84 M: 1x1 and grouped (1, 5) and (5, 1) convolutions, with EPSA.",
    )):  # fmt: skip
        drawing.text((60, legend + number * 22), text, anchor="start")
    return drawing.as_svg()


def training() -> str:
    """Draw from which data and networks each network learns.

    Returns:
        SVG; the discriminator's widths are those of training.models.discriminators.
    """
    drawing = Drawing(960, 430, "Teachers learn from frames and masks, students from both")
    drawing.box((20, 160), (150, 70), ("frames, masks", "augmented"), GREY)
    teachers = (
        ("teacher 1", "supervised: DV loss"),
        ("teacher 2", "generator of pix2pix"),
        ("teacher 3", "ImageNet encoder"),
    )
    for number, lines in enumerate(teachers):
        y = 30 + number * 90
        drawing.box((250, y), (210, 60), lines, GREEN)
        drawing.arrow([(170, 195), (210, 195), (210, y + 30), (250, y + 30)])
    drawing.box((250, 330), (210, 70), ("student", "xpnet or xpnet_lite"), ORANGE)
    drawing.arrow([(95, 230), (95, 365), (250, 365)])
    drawing.text((105, 355), "loss on the masks", anchor="start", size=13)
    widths = ", ".join(map(str, HierarchicalDiscriminator.WIDTHS))
    discriminator = (
        "hierarchical discriminator",
        f"{widths} channels",
        "teacher or student, by pixel",
    )
    drawing.box((560, 60), (250, 90), discriminator)
    drawing.box((560, 205), (250, 70), ("cross-entropy", "to the teacher's map"))
    for y in (60, 150, 240):
        for end in (105, 240):
            drawing.arrow([(460, y), (510, y), (510, end), (560, end)])
    drawing.arrow([(460, 365), (880, 365), (880, 105), (810, 105)])
    drawing.arrow([(880, 240), (810, 240)])
    drawing.text((670, 355), "map and features", size=13)
    drawing.text((670, 390), "Both losses train the student; their weights are settings.", size=13)
    drawing.text((670, 412), "Of teacher 3 the map is compared, not the features.", size=13)
    return drawing.as_svg()
