"""The video graph: source, inference, overlay probe, sink, on two platforms.

On a machine without NVIDIA's elements it is plain GStreamer with inference through Triton; with
them it is DeepStream with nvinferserver. One function describes both (deepstream/graph.py).
"""
