"""The one exception that the command line turns into a single line and exit code 2."""

import os


class UserError(Exception):
    """Wrong use or bad input: names the thing, what was found and what was expected.

    The command line prints it as one line to stderr and ends with exit code 2; its message is
    therefore written for the person at the keyboard, not for a developer.
    """


class NotInstalled(UserError):
    """A package that is needed is not there."""


def require(package: str, needed_for: str, how: str) -> NotInstalled:
    """The error for a package that is not installed, with the way to get it."""
    return NotInstalled(f"{needed_for} needs {package}, which is not installed: {how}")


def first_process() -> bool:
    """Whether this is the process that speaks, where a training runs in several."""
    return os.environ.get("LOCAL_RANK", "0") == "0"
