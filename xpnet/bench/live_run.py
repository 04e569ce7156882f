"""A live run in a process of its own, watched from outside through its HTTP service."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from xpnet.addresses import open_directly
from xpnet.errors import UserError
from xpnet.host.processes import end_with_parent

START_S = 120.0
STOP_S = 60.0
POLL_S = 0.02
ADDRESS = re.compile(r"control: (http://127\.0\.0\.1:\d+)/")


class LiveRun:
    """A started `xpnet run --mode latest --output none`; made by `live_run`.

    Attributes:
        address: Where its HTTP service is, such as http://127.0.0.1:40001.
        settings_file: Where its settings are saved.
    """

    def __init__(
        self, source: str, options: Sequence[str], folder: Path, environ: Mapping[str, str]
    ) -> None:
        self.settings_file = folder / "settings.json"
        self._summary, self._log = folder / "summary.json", folder / "log"
        command = [
            sys.executable, "-m", "xpnet.cli", "run", source, "--output", "none",
            "--mode", "latest", "--control", "0", "--settings", str(self.settings_file),
            "--json", str(self._summary), *options,
        ]  # fmt: skip
        with self._log.open("wb") as stream:
            self._process = subprocess.Popen(
                end_with_parent(command),
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **environ},
            )
        try:
            self.address = self._wait_for_address()
        except UserError:
            self.kill()
            raise

    @property
    def pid(self) -> int:
        """Number of its process."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether its process has ended."""
        return self._process.poll() is not None

    @property
    def exit_code(self) -> int | None:
        """Exit code of its process; None while it runs."""
        return self._process.poll()

    def state(self) -> dict[str, Any]:
        """Return its state, as GET /state gives it.

        Raises:
            UserError: It does not answer.
        """
        return dict(json.loads(self.get("state")))

    def post(self, route: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Send values to its HTTP service and return the answer.

        Args:
            route: Where they go: `settings` or `recorder`.
            values: What is sent as JSON.

        Raises:
            UserError: It does not answer, or refuses.
        """
        request = urllib.request.Request(
            f"{self.address}/{route}",
            json.dumps(values).encode(),
            {"Content-Type": "application/json"},
        )
        return dict(json.loads(self._ask(request, 5)))

    def get(self, route: str) -> bytes:
        """Return what its HTTP service answers.

        Args:
            route: Such as `metrics`.

        Raises:
            UserError: It does not answer, or refuses.
        """
        return self._ask(f"{self.address}/{route}", 30)

    def wait_until(self, reached: Callable[[dict[str, Any]], bool], seconds: float) -> float | None:
        """Return after how many seconds its state is as wanted; None if not in time.

        Args:
            reached: Decides by the state.
            seconds: Longest wait.
        """
        started = time.monotonic()
        while (waited := time.monotonic() - started) < seconds:
            if reached(self.state()):
                return waited
            time.sleep(POLL_S)
        return None

    def stop(self) -> dict[str, Any]:
        """Stop it in order and return its summary.

        Raises:
            UserError: It failed, or does not stop.
        """
        self._process.terminate()  # completes the run; SIGINT is ignored in background jobs
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            raise UserError(
                f"the run did not stop within {STOP_S:g} s: {self.last_line()}"
            ) from None
        if not self._summary.exists():
            raise UserError(f"the run failed: {self.last_line()}")
        return dict(json.loads(self._summary.read_text(encoding="utf-8")))

    def kill(self) -> None:
        """End it and everything that it started."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def log(self) -> str:
        """Return what it has printed."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def last_line(self) -> str:
        """Return the last line that it has printed."""
        lines = self.log().strip().splitlines()
        return lines[-1] if lines else "no output"

    def _ask(self, request: str | urllib.request.Request, timeout_s: float) -> bytes:
        try:
            with open_directly(request, timeout_s) as answer:
                return bytes(answer.read())
        except OSError as error:
            raise UserError(f"the run does not answer ({error}): {self.last_line()}") from error

    def _wait_for_address(self) -> str:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            found = ADDRESS.search(self.log())
            if found:
                return found[1]
            if self.ended:
                raise UserError(f"the run ended while starting: {self.last_line()}")
            time.sleep(POLL_S)
        raise UserError(f"the run did not start within {START_S:g} s: {self.last_line()}")


@contextmanager
def live_run(
    source: str,
    options: Sequence[str] = (),
    settings_text: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> Iterator[LiveRun]:
    """Start a live run, and end it with the `with` block.

    Args:
        source: The input of `xpnet run`.
        options: Further options of `xpnet run`.
        settings_text: Content of its settings file at the start; None for no file.
        environ: Environment variables to add.

    Raises:
        UserError: It does not start.
    """
    with tempfile.TemporaryDirectory(prefix="xpnet-live-") as folder:
        if settings_text is not None:
            Path(folder, "settings.json").write_text(settings_text, encoding="utf-8")
        run = LiveRun(source, options, Path(folder), environ or {})
        try:
            yield run
        finally:
            run.kill()
