"""The exception that the command line prints as one line, with exit code 2."""

import os


class UserError(Exception):
    """Wrong use or bad input: names the thing, what was found and what was expected.

    The message is one line for the user, not for a developer.
    """


class NotInstalled(UserError):
    """A required package is not installed."""


def not_installed(package: str, needed_for: str, how: str) -> NotInstalled:
    """Return the error for a package that is not installed.

    Args:
        package: Its name.
        needed_for: What needs it.
        how: The command that installs it.
    """
    return NotInstalled(f"{needed_for} needs {package}, which is not installed: {how}")


def is_rank_zero() -> bool:
    """Return whether this process has rank 0 in a training with several processes."""
    return os.environ.get("LOCAL_RANK", "0") == "0"
