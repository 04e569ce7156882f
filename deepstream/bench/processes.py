"""Runs jobs in processes of their own, several at once if wanted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deepstream.bench.jobs import Job
from deepstream.platforms.gstreamer_platform import TRITON
from xpnet.errors import UserError
from xpnet.host.processes import end_with_parent
from xpnet.paths import PACKAGES
from xpnet.serving.triton_server import ServerSettings, running_server


def run_jobs(
    jobs: Sequence[Job], environment: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """Run jobs at the same time, and return their results in order.

    All of them start to play when the last one is ready.

    Args:
        jobs: What to run.
        environment: Further environment variables.

    Raises:
        UserError: A job failed; the message is that of the job.
    """
    with tempfile.TemporaryDirectory(prefix="xpnet-bench-") as folder:
        running = [
            _start(job, Path(folder, f"{number}"), environment or {})
            for number, job in enumerate(jobs)
        ]
        try:
            early = [_first_line(process) for process, _ in running]
            for (process, _), line in zip(running, early, strict=True):
                if line == "ready" and process.stdin is not None:
                    with suppress(BrokenPipeError):  # it ended: _finish says why
                        process.stdin.write("\n")
                        process.stdin.close()
            return [
                _finish(process, log, line)
                for (process, log), line in zip(running, early, strict=True)
            ]
        finally:
            for process, _ in running:
                if process.poll() is None:
                    process.kill()
                process.wait()


def _start(
    job: Job, path: Path, environment: Mapping[str, str]
) -> tuple[subprocess.Popen[str], Path]:
    path.write_text(json.dumps(asdict(job)), encoding="utf-8")
    log = path.with_suffix(".log")
    with log.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(
            end_with_parent([sys.executable, "-m", "deepstream.bench.jobs", str(path)]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stream,
            text=True,
            env={**os.environ, **environment, "PYTHONPATH": _python_path()},
        )
    return process, log


def _python_path() -> str:
    """Return a path on which the child finds this repository, wherever it was started."""
    return os.pathsep.join(filter(None, (str(PACKAGES), os.environ.get("PYTHONPATH", ""))))


def _first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _finish(process: subprocess.Popen[str], log: Path, early: str) -> dict[str, Any]:
    assert process.stdout is not None
    lines = [early, *process.stdout.read().splitlines()]
    process.wait()
    try:
        result: dict[str, Any] = json.loads(lines[-1])
    except ValueError:
        tail = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        reason = tail[-1] if tail else f"exit code {process.returncode}"
        raise UserError(f"a measured run failed: {reason}") from None
    if "error" in result:
        raise UserError(f"a measured run failed: {result['error']}")
    return result


@contextmanager
def serving(backend: str, model: str, repository: Path) -> Iterator[str]:
    """Serve a model for all runs of a benchmark, if the backend is Triton.

    Args:
        backend: As of `xpnet run`.
        model: A model of the repository.
        repository: The model repository.

    Yields:
        HOST:PORT of the server; empty for a backend in process.
    """
    if backend != TRITON:
        yield ""
        return
    settings = ServerSettings(repository, (model,), http_port=0, grpc_port=0, metrics_port=0)
    with running_server(settings) as server:
        yield server.grpc_url
