"""Recordings and stills of what is shown; nothing is written unless it is asked for."""
