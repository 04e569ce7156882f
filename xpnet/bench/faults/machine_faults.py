"""Faults of the machine: a full disk, a corrupt settings file, a clock that is set back."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xpnet.bench.faults.injection import (
    NOTICE_S,
    RESTART_S,
    FaultSettings,
    Injection,
    run_with_server,
    seeded,
)
from xpnet.bench.live_run import LiveRun, live_run
from xpnet.errors import UserError
from xpnet.files import write_text

SHIFTED_CLOCK = Path(__file__).with_name("shifted_clock.c")


class _DiskFull(Injection):
    """A disk that is filled while a recording runs, and freed again."""

    is_noticed = staticmethod(lambda state: bool(state["recorder"]["failure"]))

    def __init__(self, run: LiveRun, folder: Path) -> None:
        super().__init__(run)
        self._folder, self._filler = folder, folder / "filler"

    def inject(self) -> None:
        self._record()
        with contextlib.suppress(OSError), self._filler.open("wb", buffering=0) as stream:
            while True:
                stream.write(bytes(2**16))

    def end(self) -> None:
        """Free the disk, and wait until a recording runs again."""
        super().end()
        for path in [self._filler, *self._folder.glob("*.mkv")]:
            path.unlink()
        self._record()
        self.run.post("recorder", {"action": "stop"})
        self.run.wait_until(lambda state: not state["recorder"]["recording"], RESTART_S)

    def _record(self) -> None:
        self.run.post("recorder", {"action": "start"})
        if self.run.wait_until(lambda state: state["recorder"]["seconds"] > 0, NOTICE_S) is None:
            raise UserError(f"no recording within {NOTICE_S:g} s: {self.run.last_line()}")


@contextmanager
def full_disk(settings: FaultSettings) -> Iterator[Injection]:
    """Open a run that records to a small disk in memory, which is mounted for it."""
    with tempfile.TemporaryDirectory(prefix="xpnet-disk-") as folder:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder], check=True)
        try:
            options = (*settings.options, "--record", folder, "--record-reserve", "0")
            with live_run(settings.source, options) as run:
                yield _DiskFull(run, Path(folder))
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


def cannot_mount() -> str:
    """Return why no disk can be mounted for `full_disk`; empty if one can."""
    with tempfile.TemporaryDirectory(prefix="xpnet-disk-") as folder:
        mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]
        if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
            return "mounting a small disk needs root"
        subprocess.run(["umount", folder], check=True)
    return ""


class _CorruptSettings(Injection):
    """A settings file that is overwritten with noise; the next change of settings replaces it."""

    is_noticed = None

    def __init__(self, run: LiveRun) -> None:
        super().__init__(run)
        self._chosen, self._count = seeded(), 0

    def inject(self) -> None:
        file = self.run.settings_file
        file.write_bytes(self._chosen.randbytes(200))
        self._count += 1
        opacity = self._count / 1000  # another value each time: only a change is saved
        self.run.post("settings", {"opacity": opacity})
        if f'"opacity": {opacity}' not in file.read_text(encoding="utf-8"):
            raise UserError(f"{file}: was not replaced after it was damaged")


@contextmanager
def corrupt_settings(settings: FaultSettings) -> Iterator[Injection]:
    """Open a run that starts with a corrupt settings file."""
    noise = seeded().randbytes(200).decode("latin-1")
    with live_run(settings.source, settings.options, noise) as run:
        yield _CorruptSettings(run)


class _ClockSetBack(Injection):
    """The machine's clock, as the run sees it, goes back by an hour each time."""

    is_noticed = None

    def __init__(self, run: LiveRun, file: Path) -> None:
        super().__init__(run)
        self._file, self._hours = file, 0

    def inject(self) -> None:
        self._hours += 1
        write_text(self._file, str(-3600 * self._hours))


@contextmanager
def clock_set_back(settings: FaultSettings) -> Iterator[Injection]:
    """Open a run whose wall clock is set back; a library of ours stands between it and the clock.

    The machine's own clock is not touched. The server has it: a wait until a time, as Triton's
    Python backend makes many, follows the kernel's clock, which cannot be shifted for one process.
    """
    with tempfile.TemporaryDirectory(prefix="xpnet-clock-") as folder:
        library, file = Path(folder, "shifted_clock.so"), Path(folder, "shift")
        command = ["cc", "-shared", "-fPIC", "-O2", "-o", str(library), str(SHIFTED_CLOCK)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise UserError(f"{SHIFTED_CLOCK}: cannot be compiled: {done.stderr.strip()}")
        write_text(file, "0")
        environ = {"LD_PRELOAD": str(library), "XPNET_CLOCK_SHIFT": str(file)}
        with run_with_server(settings, environ=environ) as (run, _):
            yield _ClockSetBack(run, file)


def cannot_compile() -> str:
    """Return why no library can be compiled for `clock_set_back`; empty if one can."""
    return "" if shutil.which("cc") else "a C compiler is missing: apt install gcc libc6-dev"
