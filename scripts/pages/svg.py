"""A small drawing of boxes and arrows as SVG, the same text on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

INK, PAPER = "#1f2d3d", "#ffffff"
BLUE, GREEN, ORANGE, GREY = "#d6e6f7", "#d9f0e3", "#fbe5cf", "#eceff3"
"""Fills of boxes."""
LINE = 18
"""Distance of two lines of text, in pixels."""
Point = tuple[float, float]


@dataclass
class Drawing:
    """A picture with a white background, so that it can be read on a dark page.

    Attributes:
        width: In pixels.
        height: In pixels.
        title: Read aloud in place of the picture.
    """

    width: int
    height: int
    title: str
    parts: list[str] = field(default_factory=list)

    def box(
        self, at: Point, size: Point, lines: Sequence[str], fill: str = BLUE, dashed: bool = False
    ) -> None:
        """Draw a box with lines of text in its middle; the first one is bold.

        Args:
            at: Left and top, in pixels.
            size: Width and height, in pixels.
            lines: Its text.
            fill: Its colour.
            dashed: Whether its border is dashed.
        """
        (x, y), (width, height) = at, size
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6" '
            f'fill="{fill}" stroke="{INK}"{dash}/>'
        )
        first = y + height / 2 - (len(lines) - 1) * LINE / 2 + 5
        for number, line in enumerate(lines):
            self.text((x + width / 2, first + number * LINE), line, bold=number == 0)

    def text(
        self, at: Point, text: str, bold: bool = False, anchor: str = "middle", size: int = 14
    ) -> None:
        """Write a line.

        Args:
            at: Its anchor on the base line, in pixels.
            text: The line.
            bold: Whether it is bold.
            anchor: `start`, `middle` or `end`.
            size: Of the letters, in pixels.
        """
        weight = ' font-weight="bold"' if bold else ""
        self.parts.append(
            f'<text x="{at[0]:g}" y="{at[1]:g}" text-anchor="{anchor}" font-size="{size}"'
            f"{weight}>{escape(text)}</text>"
        )

    def arrow(self, points: Sequence[Point], dashed: bool = False) -> None:
        """Draw a line through points, with a head at its end.

        Args:
            points: Two or more, in pixels.
            dashed: Whether the line is dashed.
        """
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self.parts.append(
            f'<polyline points="{path}" fill="none" stroke="{INK}" stroke-width="1.5"'
            f'{dash} marker-end="url(#head)"/>'
        )

    def as_svg(self) -> str:
        """Return the file's text."""
        return "\n".join([
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" role="img" '
            f'font-family="DejaVu Sans, Verdana, Arial, sans-serif" fill="{INK}">',
            f"<title>{escape(self.title)}</title>",
            '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
            f'markerHeight="7" orient="auto"><path d="M0,0 L10,5 L0,10 z" fill="{INK}"/>'
            "</marker></defs>",
            f'<rect width="{self.width}" height="{self.height}" fill="{PAPER}"/>',
            *self.parts,
            "</svg>\n",
        ])  # fmt: skip
