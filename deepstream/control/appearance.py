"""What the user chose to see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from xpnet.errors import UserError
from xpnet.overlay import OverlayStyle, parse_colour
from xpnet.scope_region import FULL, parse_region

SWITCHES = ("enabled", "signs", "smoothing", "confirmation")
"""Settings that are true or false."""


@dataclass(frozen=True)
class Appearance:
    """What is drawn on the picture.

    Attributes:
        enabled: Whether masks are drawn.
        style: How masks are drawn.
        threshold: Probability above which a pixel is polyp; None for that of the model's card.
        signs: Whether signs on the picture show if the assistant works.
        smoothing: Whether masks are averaged over a short time.
        region: The scope's picture within the frame, as `xpnet.scope_region.parse_region` reads it.
        confirmation: Whether an area is marked only after some frames, and for some longer.
    """

    enabled: bool = True
    style: OverlayStyle = field(default_factory=OverlayStyle)
    threshold: float | None = None
    signs: bool = False
    smoothing: bool = False
    confirmation: bool = False
    region: str = FULL

    def as_dict(self) -> dict[str, Any]:
        """Return the choices for JSON, with the colour as RRGGBB."""
        values = asdict(self)
        style = values.pop("style")
        return {**values, **style, "colour": bytes(style["colour"]).hex()}

    def changed(self, values: Mapping[str, Any]) -> Appearance:
        """Return the choices with some of them changed.

        Args:
            values: New values by the names of `as_dict`.

        Raises:
            UserError: An unknown name, or a value of another type or out of range.
        """
        known = self.as_dict()
        for name, value in values.items():
            if name not in known:
                raise UserError(f"setting '{name}': expected one of {', '.join(known)}")
            check_value(name, value)
        style = replace(
            self.style,
            colour=parse_colour(values["colour"]) if "colour" in values else self.style.colour,
            opacity=float(values.get("opacity", self.style.opacity)),
            shape=values.get("shape", self.style.shape),
        )
        return Appearance(
            values.get("enabled", self.enabled),
            style,
            values.get("threshold", self.threshold),
            values.get("signs", self.signs),
            values.get("smoothing", self.smoothing),
            values.get("confirmation", self.confirmation),
            values.get("region", self.region),
        )


def check_value(name: str, value: Any) -> None:
    """Check a value's type, and the range of a number; styles check names and colours.

    Args:
        name: Name of the setting.
        value: Its new value.

    Raises:
        UserError: It is of another type or out of range.
    """
    if name in SWITCHES:
        if not isinstance(value, bool):
            raise UserError(f"setting '{name}': {value!r}, expected true or false")
    elif name in ("opacity", "threshold"):
        if name == "threshold" and value is None:
            return
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise UserError(f"setting '{name}': {value!r}, expected a number from 0 to 1")
    elif not isinstance(value, str):
        raise UserError(f"setting '{name}': {value!r}, expected text")
    elif name == "region":
        parse_region(value)


def parse_settings(words: list[str]) -> dict[str, Any]:
    """Convert `NAME=VALUE` words of a command line to values.

    Args:
        words: Such as `enabled=false`, `opacity=0.3`, `threshold=card`.

    Raises:
        UserError: A word without `=`, or a number that is none.
    """
    values: dict[str, Any] = {}
    for word in words:
        name, separator, text = word.partition("=")
        if not separator:
            raise UserError(f"{word}: expected NAME=VALUE, such as opacity=0.3")
        values[name] = _value(name, text)
    return values


def _value(name: str, text: str) -> Any:
    if name in SWITCHES:
        if text not in ("true", "false"):
            raise UserError(f"{name}={text}: expected true or false")
        return text == "true"
    if name == "threshold" and text == "card":
        return None
    if name in ("opacity", "threshold"):
        try:
            return float(text)
        except ValueError:
            raise UserError(f"{name}={text}: expected a number from 0 to 1") from None
    return text
