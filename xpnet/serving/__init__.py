"""Triton: its model configurations, its server process, its client, and a CPU backend."""
