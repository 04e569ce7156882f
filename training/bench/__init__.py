"""Benchmarks of networks: measured times, layer counts, roofline."""
