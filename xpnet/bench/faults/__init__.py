"""`xpnet bench faults`: what is injected into a live run, and the table of what happened.

Nothing is imported here: Triton imports `faulty_model` of this package.
"""
