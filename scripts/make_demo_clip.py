"""Makes the demo clip from the frames of one PolypGen video, with its attribution.

    .venv/bin/python scripts/make_demo_clip.py POLYPGEN_DIR

PolypGen publishes single frames of its videos; the frames of centre 4's clip 19, which no
network here was trained on, follow one another over 30 seconds. Each is held for a second under a
slow zoom, so that the masks have something to follow.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

OUTPUT = Path(__file__).resolve().parents[1] / "docs" / "demo" / "colonoscopy.mp4"
STEMS = "19_endocv2021_positive_"
FPS, HOLD = 25, 26  # frames a second; frames that each picture is shown
ATTRIBUTION = """\
# The demo clip

`colonoscopy.mp4` is made by `scripts/make_demo_clip.py` from {count} frames of PolypGen, centre 4,
clip 19, a clip of the validation split: no network of this project was trained on them. Each frame
is held for about a second under a slow zoom; nothing else was changed. It is therefore a series of
real frames, not a continuous video.

PolypGen: S. Ali et al., "A multi-centre polyp detection and segmentation dataset for
generalisability assessment", Scientific Data 10:75, 2023, doi:10.1038/s41597-023-01981-y.
Licence of the frames, and of the clip: CC BY 4.0, https://creativecommons.org/licenses/by/4.0/

Frames: {frames}
"""


def main() -> int:
    """Reads the frames, writes clip and attribution."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("polypgen", type=Path, help="folder with PolypGen's images/")
    paths = sorted(
        (parser.parse_args().polypgen / "images").glob(f"{STEMS}*.jpg"),
        key=lambda p: int(p.stem.removeprefix(STEMS)),
    )
    if not paths:
        print(f"no frames {STEMS}*.jpg in this folder's images/", file=sys.stderr)
        return 2
    pictures = [cv2.imread(str(p)) for p in paths]
    height, width = pictures[0].shape[:2]
    height -= height % 2
    command = [
        "ffmpeg", "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "bgr24",
        "-s", f"{width}x{height}", "-r", str(FPS), "-i", "-", "-c:v", "libx264",
        "-preset", "slow", "-crf", "22", "-pix_fmt", "yuv420p", "-movflags", "+faststart",
        str(OUTPUT),
    ]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.PIPE) as encoder:
        assert encoder.stdin is not None
        for number in range(len(pictures) * HOLD):
            encoder.stdin.write(render(pictures, number)[:height].tobytes())
    if encoder.returncode:
        return 2
    names = ", ".join(p.stem for p in paths)
    (OUTPUT.parent / "ATTRIBUTION.md").write_text(
        ATTRIBUTION.format(count=len(paths), frames=names), encoding="utf-8"
    )
    return 0


def render(pictures: list[np.ndarray], number: int) -> np.ndarray:
    """Frame `number` of the clip, H x W x 3, BGR."""
    index, step = divmod(number, HOLD)
    return zoomed(pictures[index], step / HOLD)


def zoomed(picture: np.ndarray, progress: float) -> np.ndarray:
    """The picture, 0 to 5 % closer."""
    height, width = picture.shape[:2]
    scale = 1 + 0.05 * progress
    matrix = cv2.getRotationMatrix2D((width * 0.55, height * 0.5), 0, scale)
    return cv2.warpAffine(picture, matrix, (width, height), flags=cv2.INTER_LINEAR)


if __name__ == "__main__":
    sys.exit(main())
