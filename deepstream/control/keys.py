"""Keys that are pressed in the window: on and off, shape, opacity."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

from deepstream.control.controls import Controls
from deepstream.gstreamer import Gst
from xpnet.overlay import SHAPES

OPACITY_STEP = 0.1


@contextmanager
def reading_keys(pad: Any, controls: Controls) -> Iterator[None]:
    """Change the choices by keys for the time of the `with` block.

    A window sends its keys up the stream as navigation events. Changes are made in a thread of
    their own: saving them must not delay a frame.

    Args:
        pad: A source pad before the window.
        controls: The choices.
    """
    pressed: SimpleQueue[str | None] = SimpleQueue()

    def read(_pad: Any, info: Any) -> Any:
        event = info.get_event()
        fields = event.get_structure() if event.type == Gst.EventType.NAVIGATION else None
        if fields is not None and fields.get_string("event") == "key-press":
            pressed.put(fields.get_string("key") or "")
        return Gst.PadProbeReturn.OK

    def work() -> None:
        while (key := pressed.get()) is not None:
            changes = meaning(key, controls)
            if changes:
                controls.change(changes, "key")

    probe = pad.add_probe(Gst.PadProbeType.EVENT_UPSTREAM, read)
    thread = threading.Thread(target=work, name="keys", daemon=True)
    thread.start()
    try:
        yield
    finally:
        pad.remove_probe(probe)
        pressed.put(None)
        thread.join()


def meaning(key: str, controls: Controls) -> dict[str, Any]:
    """Return what a key changes; nothing for other keys.

    Args:
        key: GStreamer's name: `m` masks on or off, `s` next shape, `plus` and `minus` opacity.
        controls: The choices now.
    """
    shown = controls.appearance
    opacity = shown.style.opacity
    changes: dict[str, dict[str, Any]] = {
        "m": {"enabled": not shown.enabled},
        "s": {"shape": SHAPES[(SHAPES.index(shown.style.shape) + 1) % len(SHAPES)]},
        "plus": {"opacity": round(min(1.0, opacity + OPACITY_STEP), 2)},
        "minus": {"opacity": round(max(0.0, opacity - OPACITY_STEP), 2)},
    }
    return changes.get(key, {})
