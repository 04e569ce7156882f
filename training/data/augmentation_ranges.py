"""Probabilities and ranges of the augmentation, in worker processes and on a device alike.

Used by training.data.augmentation (albumentations) and training.data.device_augmentation. A range
is drawn from uniformly unless the user of the constant says otherwise.
"""

from __future__ import annotations

Range = tuple[float, float]

FLIP_PROBABILITY = 0.5
"""For each of both axes."""
QUARTER_TURN_PROBABILITY = 0.5
AFFINE_PROBABILITY = 0.8
ROTATION_DEGREES: Range = (-30, 30)
SCALE: Range = (0.75, 1.35)
SHIFT: Range = (-0.06, 0.06)
"""Relative to the frame's size."""
PERSPECTIVE_PROBABILITY = 0.3
PERSPECTIVE: Range = (0.02, 0.08)
"""Scale of the corners' shifts, relative to the frame's size."""
COLOUR_PROBABILITY = 0.8
COLOUR_FACTOR: Range = (0.75, 1.25)
"""Of brightness, contrast and saturation."""
HUE_SHIFT: Range = (-0.04, 0.04)
"""In turns of the colour circle."""

BLUR_PROBABILITY = 0.15
"""Half of it is motion blur, half Gaussian blur."""
MOTION_BLUR_SIZE = (3, 9)
"""In pixels."""
NOISE_PROBABILITY = 0.15
NOISE_STD: Range = (0.01, 0.06)
"""Relative to the range of values."""
SPOTS_PROBABILITY = 0.2
SPOT_COUNT = (2, 12)
SPOT_POSITION: Range = (0.1, 0.9)
SPOT_HALF_AXIS: Range = (0.003, 0.02)
"""Position and half axes are relative to the frame's size."""
MIN_LIT_BRIGHTNESS = 60
"""Mean of a pixel's channels, in [0, 255], above which the pixel shows lit mucosa."""
INTERLACING_PROBABILITY = 0.08
INTERLACING_SHIFT: Range = (2, 8)
"""In pixels of a frame 256 pixels wide."""
BORDER_PROBABILITY = 0.2
BORDER_RADIUS: Range = (0.72, 0.95)
"""Relative to half the diagonal."""
COMPRESSION_PROBABILITY = 0.2
JPEG_QUALITY = (30, 90)
