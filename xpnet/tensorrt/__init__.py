"""TensorRT: build plans and TensorRT-RTX engines, run them, and check them."""
