"""What the faulty model of `xpnet bench faults` can be told to do; Triton reads this, too."""

NOT_A_NUMBER, TOO_LARGE, SLOW = "not a number", "too large", "slow"
SLOW_S = 1.0
"""How long a slow answer takes."""
