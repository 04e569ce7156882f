"""Ray on this machine only: nothing leaves it, and its files are private and removed at the end."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import secrets
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xpnet.errors import UserError, not_installed
from xpnet.paths import setup_command

LOCALHOST = "127.0.0.1"
PREFIX = ".xpnet-ray-"
"""Start of the name of the private folder; the number of this process follows."""
FOLDER_NAME = re.compile(rf"{re.escape(PREFIX)}(\d+)-[a-z0-9_]{{8}}")
"""The whole name: tempfile.mkdtemp adds eight characters."""
STORE_BYTES = 80 << 20
"""Shared memory of Ray, close to its minimum: frames do not pass through it."""
SOCKET_NAME = "/ray/session_2026-01-01_00-00-00_000000_0000000/sockets/plasma_store"
"""A path in the private folder, of the length that Ray gives it."""
MAX_SOCKET_PATH = 107
"""Longest path of a Unix socket, in bytes (unix(7))."""


@contextlib.contextmanager
def ray_session(workers: int) -> Iterator[Any]:
    """Start Ray for the time of the `with` block.

    Args:
        workers: Number of processes for tasks.

    Yields:
        The module `ray.data`.

    Raises:
        UserError: Ray is missing, does not start, or listens on the network.
    """
    remove_stale_folders()
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
    try:
        if len(os.fsencode(folder)) + len(SOCKET_NAME) > MAX_SOCKET_PATH:
            raise UserError(
                f"{folder.parent}: too long a path for Ray; set TMPDIR to a shorter one"
            )
        with _environment(), _silence(), _sigterm_handler():
            ray = _import_ray()
            try:
                # Ray opens its own folder to all users: it is inside one that is private.
                _start(ray, workers, folder / "ray")
                yield ray.data
            finally:
                ray.shutdown()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_stale_folders() -> None:
    """Remove the folders of processes that were killed and could not do it."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        name = FOLDER_NAME.fullmatch(folder.name)
        if name is None:
            continue
        with contextlib.suppress(OSError):  # it is gone
            if folder.lstat().st_uid == os.getuid() and not Path("/proc", name[1]).exists():
                shutil.rmtree(folder, ignore_errors=True)


def _import_ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise not_installed(str(error.name), "xpnet archive", setup_command("archive")) from error
    return ray


def _start(ray: Any, workers: int, folder: Path) -> None:
    try:
        ray.init(
            address="local",  # never join a cluster
            num_cpus=workers,
            num_gpus=0,
            include_dashboard=False,
            object_store_memory=STORE_BYTES,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _node_ip_address=LOCALHOST,
            _temp_dir=str(folder),
        )
    except Exception as error:  # Ray has no common class for what prevents its start
        raise UserError(f"Ray does not start: {type(error).__name__}: {error}") from error
    address = ray.util.get_node_ip_address()
    if address != LOCALHOST:
        raise UserError(f"Ray listens at {address}, expected {LOCALHOST}: not used")
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    # A result is one line. Ray Data would expect 128 MiB of each task, and start fewer of them.
    context.target_max_block_size = 1 << 20


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """Set Ray's environment variables: it reads them when it is imported and when it starts."""
    wanted = {
        "RAY_USAGE_STATS_ENABLED": "0",  # send no statistics
        # Ray replaces 127.0.0.1 by the machine's own address unless clusters are switched off; the
        # name of the variable is that of the systems where this is the default.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        # Other users of this machine cannot connect; a token in the environment leaves no file in
        # the home folder.
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _sigterm_handler() -> Iterator[None]:
    """Keep this process's handler of SIGTERM, which Ray replaces."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Discard what Ray prints, such as a page about a worker that ended: the summary says it."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        yield
