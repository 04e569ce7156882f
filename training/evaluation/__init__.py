"""Metrics, scores, tables and plots. Needs no torch."""
