"""The platforms by name: those of graphs, and the targets that stand for NVIDIA's two."""

from __future__ import annotations

GSTREAMER, DGPU, JETSON = "gstreamer", "deepstream", "deepstream-jetson"
"""Plain GStreamer; DeepStream on a GPU of its own; DeepStream on a Jetson."""
GRAPHS = (GSTREAMER, DGPU, JETSON)
NVIDIA = (DGPU, JETSON)
TARGETS = {"rtx": DGPU, "jetson": JETSON}
"""A PC with an NVIDIA GPU, and a Jetson, to the platform of their graphs."""
