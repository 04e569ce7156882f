"""Triton: model configuration, repository, server, client; ONNX runtimes on the CPU."""
