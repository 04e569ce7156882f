"""XP-Net: what all stages share, from the model card to the overlay, and the command line.

Importing this package needs numpy and OpenCV only.
"""

__version__ = "0.1.0"
