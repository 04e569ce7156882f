"""Engines of a target: TensorRT-RTX ahead of time, where there is no GPU."""
