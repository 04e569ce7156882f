"""Makes the README's picture from the clip that `make demo` wrote.

make demo && .venv/bin/python scripts/make_demo_picture.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
CLIP, PICTURE = ROOT / "build" / "demo.mp4", ROOT / "docs" / "demo" / "masks.jpg"
SECONDS = (0.5, 7.0, 9.5, 11.5)  # one without a polyp, three with it


def main() -> int:
    """Reads four frames, writes them as one picture of two rows."""
    clip = cv2.VideoCapture(str(CLIP))
    frames = []
    for second in SECONDS:
        clip.set(cv2.CAP_PROP_POS_MSEC, second * 1000)
        read, frame = clip.read()
        if not read:
            print(f"{CLIP}: no frame at {second} s: run `make demo` first", file=sys.stderr)
            return 2
        frames.append(frame)
    rows = [np.hstack(frames[i : i + 2]) for i in (0, 2)]
    cv2.imwrite(str(PICTURE), np.vstack(rows), [cv2.IMWRITE_JPEG_QUALITY, 88])
    return 0


if __name__ == "__main__":
    sys.exit(main())
