"""The part of pyservicemaker that the probe uses, with the names and types of its bindings.

Source: probe.h, metadata.h and osd.h in service-maker/sources/python/src/bindings of DeepStream
9.2 (docs.nvidia.com, API reference). As there, an iterator can be used once and its items until the
next one only, properties are typed, and unknown names cannot be set.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any, ClassVar

import numpy as np

MAX_ELEMENTS = 16
"""MAX_ELEMENTS_IN_DISPLAY_META of nvdsmeta.h."""
UINT32, UINT64 = 2**32, 2**64


class Struct:
    """A bound structure: its properties have a type, and there are no others."""

    FIELDS: ClassVar[dict[str, Any]] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            object.__setattr__(self, name, value)
            return
        kind = self.FIELDS.get(name)
        if kind is None:
            raise AttributeError(f"{type(self).__name__} has no writable {name}")
        if isinstance(kind, int):  # an unsigned integer below this number
            fits = isinstance(value, int) and 0 <= value < kind
        elif kind is float:
            fits = isinstance(value, (int, float))
        else:
            fits = isinstance(value, kind)
        if not fits:
            raise TypeError(f"{type(self).__name__}.{name} = {value!r}: incompatible type")
        object.__setattr__(self, name, value)


class FontFamily(Enum):
    """osd.FontFamily."""

    Serif = 0


class Color(Struct):
    """osd.Color."""

    FIELDS: ClassVar[dict[str, Any]] = dict.fromkeys("rgba", float)

    def __init__(self, r: float, g: float, b: float, a: float) -> None:
        self.r, self.g, self.b, self.a = r, g, b, a


class Font(Struct):
    """osd.Font."""

    FIELDS: ClassVar[dict[str, Any]] = {"name": FontFamily, "size": UINT32, "color": Color}


class Text(Struct):
    """osd.Text."""

    FIELDS: ClassVar[dict[str, Any]] = {
        "display_text": (str, bytes),
        "x_offset": UINT32,
        "y_offset": UINT32,
        "font": Font,
        "set_bg_color": 2,
        "bg_color": Color,
    }

    def __init__(self) -> None:
        self.font = Font()


class Line(Struct):
    """osd.Line."""

    FIELDS: ClassVar[dict[str, Any]] = {
        **dict.fromkeys(("x1", "y1", "x2", "y2", "width"), UINT32),
        "color": Color,
    }


class Rect(Struct):
    """osd.Rect."""

    FIELDS: ClassVar[dict[str, Any]] = {
        **dict.fromkeys(("left", "top", "width", "height"), float),
        "border_width": UINT32,
        "has_bg_color": 2,
    }


class osd:
    """The submodule."""

    FontFamily, Color, Font, Text, Line, Rect = FontFamily, Color, Font, Text, Line, Rect


class DisplayMetadata(Struct):
    """DisplayMetadata; it copies what is added."""

    def __init__(self) -> None:
        self._lines: list[tuple[int, int, int, int]] = []
        self._colours: set[tuple[float, ...]] = set()
        self._texts: list[tuple[str, int, int]] = []

    def add_line(self, item: Line) -> None:
        assert isinstance(item, Line)
        assert len(self._lines) < MAX_ELEMENTS
        assert item.width > 0
        self._lines.append((item.x1, item.y1, item.x2, item.y2))
        self._colours.add((item.color.r, item.color.g, item.color.b, item.color.a))

    def add_text(self, item: Text) -> None:
        assert isinstance(item, Text)
        assert len(self._texts) < MAX_ELEMENTS
        assert item.font.name is FontFamily.Serif
        self._texts.append((str(item.display_text), item.x_offset, item.y_offset))


class ObjectMetadata(Struct):
    """ObjectMetadata."""

    FIELDS: ClassVar[dict[str, Any]] = {
        "class_id": UINT32,
        "object_id": UINT64,
        "unique_component_id": UINT32,
        "confidence": float,
        "label": str,
        "nv_bbox_info": dict,
    }

    def __init__(self) -> None:
        self._rect = Rect()

    @property
    def rect_params(self) -> Rect:
        return self._rect


class SegmentationUserMetadata(Struct):
    """SegmentationUserMetadata; class_map is a copy."""

    def __init__(self, classes: np.ndarray, count: int) -> None:
        self._map, self._count = classes, count

    @property
    def classes(self) -> int:
        return self._count

    @property
    def width(self) -> int:
        return int(self._map.shape[1])

    @property
    def height(self) -> int:
        return int(self._map.shape[0])

    @property
    def class_map(self) -> np.ndarray:
        return self._map.copy()


class UserMetadata(Struct):
    """UserMetadata of type NVDSINFER_SEGMENTATION_META."""

    def __init__(self, segmentation: SegmentationUserMetadata) -> None:
        self._segmentation = segmentation

    def as_segmentation(self) -> SegmentationUserMetadata:
        return self._segmentation


class FrameMetadata(Struct):
    """FrameMetadata; a test reads `_objects` and `_displays`."""

    def __init__(
        self, pts: int, classes: np.ndarray | None, *, source: int = 0, count: int = 1
    ) -> None:
        self._pts, self._source = pts, source
        metas = [] if classes is None else [SegmentationUserMetadata(classes, count)]
        self._items = [UserMetadata(meta) for meta in metas]
        self._objects: list[ObjectMetadata] = []
        self._displays: list[DisplayMetadata] = []

    @property
    def buffer_pts(self) -> int:
        return self._pts

    @property
    def pad_index(self) -> int:
        return self._source

    @property
    def segmentation_items(self) -> Iterator[Any]:
        return once(self._items)

    def append(self, item: Any) -> None:
        if isinstance(item, DisplayMetadata):
            self._displays.append(item)
        elif isinstance(item, ObjectMetadata):
            self._objects.append(item)
        else:
            raise TypeError("Invalid type for FrameMetadata.append")


class BatchMetadata(Struct):
    """BatchMetadata."""

    def __init__(self, frames: list[FrameMetadata]) -> None:
        self._frames = frames

    @property
    def frame_items(self) -> Iterator[Any]:
        return once(self._frames)

    def acquire_object_meta(self) -> ObjectMetadata:
        return ObjectMetadata()

    def acquire_display_meta(self) -> DisplayMetadata:
        return DisplayMetadata()


class BatchMetadataOperator:
    """Base of operators; the bindings refuse an object whose base was not initialised."""

    def __init__(self) -> None:
        self._initialised = True

    def handle_metadata(self, metadata: BatchMetadata) -> None:
        raise NotImplementedError


class Probe:
    """Probe(name, operator)."""

    def __init__(self, name: str, operator: BatchMetadataOperator) -> None:
        assert isinstance(name, str)
        assert isinstance(operator, BatchMetadataOperator)
        self._operator = operator

    def _pass(self, batch: BatchMetadata) -> None:
        assert self._operator._initialised
        self._operator.handle_metadata(batch)


class _Current:
    """An item of an iterator; the bindings overwrite it when the iterator advances."""

    def __init__(self, item: Any) -> None:
        self._item: Any = item

    def __getattr__(self, name: str) -> Any:
        if self._item is None:
            raise RuntimeError("used after its iterator advanced")
        return getattr(self._item, name)


def once(items: list[Any]) -> Iterator[Any]:
    """Yield items that are valid until the next one."""
    for item in items:
        current = _Current(item)
        yield current
        current._item = None
