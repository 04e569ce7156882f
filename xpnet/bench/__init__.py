"""Benchmarks: the Triton server under load, and the log of a Jetson's tegrastats."""
