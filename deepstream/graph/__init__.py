"""The GStreamer graph: its description, element tables, construction and drawing."""
