"""XP-Net: what all stages share, from the model card to the overlay, and the command line.

Importing this package needs numpy and OpenCV only.
"""

from importlib import metadata

try:
    __version__ = metadata.version("xpnet")
except metadata.PackageNotFoundError:  # a source tree that is not installed
    __version__ = "0+unknown"
