"""Names of the platforms of graphs, and of the targets of builds."""

from __future__ import annotations

GSTREAMER, DGPU, JETSON = "gstreamer", "deepstream", "deepstream-jetson"
"""Plain GStreamer; DeepStream on a discrete GPU; DeepStream on a Jetson."""
GRAPHS = (GSTREAMER, DGPU, JETSON)
NVIDIA = (DGPU, JETSON)
TARGETS = {"rtx": DGPU, "jetson": JETSON}
"""Platform of the graph by target: a PC with an NVIDIA GPU, or a Jetson."""
