"""Measurements of the GStreamer graph: `xpnet bench graph` and `xpnet bench device`."""
