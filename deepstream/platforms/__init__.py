"""The two platforms of the graph: plain GStreamer, and NVIDIA DeepStream.

Each module has the platform's settings, its checks of the machine, and what opens its inference.
"""
