"""The commands of `xpnet`, by what they are for; each imports its package when it runs."""
