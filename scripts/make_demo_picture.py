"""Make the README's picture from the video that `make demo` writes.

Usage: make demo && .venv/bin/python scripts/make_demo_picture.py
"""

from __future__ import annotations

import sys

import cv2
import numpy as np

from xpnet.paths import ROOT

VIDEO = ROOT / "build" / "demo.mp4"
PICTURE = ROOT / "docs" / "demo" / "masks.jpg"
TIMES_S = (0.5, 7.0, 9.5, 11.5)
"""Times of the frames in the picture: one without a polyp, three with one."""


def main() -> int:
    """Read four frames and write them as one picture, two by two."""
    video = cv2.VideoCapture(str(VIDEO))
    frames = []
    for time_s in TIMES_S:
        video.set(cv2.CAP_PROP_POS_MSEC, time_s * 1000)
        has_frame, frame = video.read()
        if not has_frame:
            print(f"{VIDEO}: no frame at {time_s} s: run `make demo` first", file=sys.stderr)
            return 2
        frames.append(frame)
    rows = [np.hstack(frames[i : i + 2]) for i in (0, 2)]
    cv2.imwrite(str(PICTURE), np.vstack(rows), [cv2.IMWRITE_JPEG_QUALITY, 88])
    return 0


if __name__ == "__main__":
    sys.exit(main())
