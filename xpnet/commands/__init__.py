"""The commands of `xpnet`, one module for each verb; a command imports its package when it runs."""
