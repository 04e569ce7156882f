"""The video graph: source, inference, overlay probe, sink.

On a machine without NVIDIA's elements it is plain GStreamer with inference through Triton.
"""
