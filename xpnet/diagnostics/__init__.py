"""What the documents claim, checked on the machine at hand: `xpnet doctor verify`."""
