"""Make the demo clip from frames of one PolypGen video, with its attribution.

Usage: .venv/bin/python scripts/make_demo_clip.py POLYPGEN_DIR

PolypGen publishes single frames of its videos. The clip shows the frames of centre 4, clip 19, in
their order; no network of this project was trained on them. Each frame is shown for about a second
under a slow zoom, so that the masks move.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from xpnet.paths import DEMO_CLIP

STEM_PREFIX = "19_endocv2021_positive_"
FPS = 25
FRAMES_PER_IMAGE = 26
"""Frames of the clip that show one image."""
ZOOM = 0.05
"""Share by which an image is enlarged while it is shown."""
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

Image = NDArray[np.uint8]
"""H x W x 3, BGR."""


def main() -> int:
    """Read the frames; write the clip and its attribution."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("polypgen", type=Path, help="folder that contains PolypGen's images/")
    images_dir = parser.parse_args().polypgen / "images"
    paths = sorted(
        images_dir.glob(f"{STEM_PREFIX}*.jpg"),
        key=lambda p: int(p.stem.removeprefix(STEM_PREFIX)),
    )
    if not paths:
        print(f"{images_dir}: no frames, expected {STEM_PREFIX}*.jpg", file=sys.stderr)
        return 2
    if encode_clip([np.asarray(cv2.imread(str(p)), dtype=np.uint8) for p in paths]):
        return 2
    names = ", ".join(p.stem for p in paths)
    (DEMO_CLIP.parent / "ATTRIBUTION.md").write_text(
        ATTRIBUTION.format(count=len(paths), frames=names), encoding="utf-8"
    )
    return 0


def encode_clip(images: list[Image]) -> int:
    """Encode the clip with ffmpeg and return ffmpeg's exit code.

    Args:
        images: The frames of PolypGen, all of one size.
    """
    height, width = images[0].shape[:2]
    height -= height % 2  # yuv420p needs an even height
    command = [
        "ffmpeg", "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "bgr24",
        "-s", f"{width}x{height}", "-r", str(FPS), "-i", "-", "-c:v", "libx264",
        "-preset", "slow", "-crf", "22", "-pix_fmt", "yuv420p", "-movflags", "+faststart",
        str(DEMO_CLIP),
    ]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.PIPE) as encoder:
        assert encoder.stdin is not None
        for image in images:
            for step in range(FRAMES_PER_IMAGE):
                frame = zoom_image(image, step / FRAMES_PER_IMAGE)
                encoder.stdin.write(frame[:height].tobytes())
    return encoder.returncode


def zoom_image(image: Image, progress: float) -> Image:
    """Enlarge an image about a fixed point, at the same size.

    Args:
        image: H x W x 3 BGR.
        progress: 0 for the image itself, 1 for the largest zoom.
    """
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width * 0.55, height * 0.5), 0, 1 + ZOOM * progress)
    zoomed = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR)
    return np.asarray(zoomed, dtype=np.uint8)


if __name__ == "__main__":
    sys.exit(main())
