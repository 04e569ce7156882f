"""`xpnet doctor verify`: check the claims of the documentation on this machine, and report."""
