from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from xpnet.host.processes import (
    NICENESS,
    descendants,
    end_with_parent,
    is_running,
    lower_priority,
    lower_thread_priority,
)

PARENT = """
import subprocess, sys
from xpnet.host.processes import end_with_parent
child = subprocess.Popen(end_with_parent(["sleep", "60"]))
print(child.pid, flush=True)
sys.stdin.read(1)
"""


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_child_ends_with_its_parent() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = Path("/proc", parent.stdout.readline().strip(), "stat")
    wait_until(lambda: "(sleep)" in child.read_text())  # the process is the command itself
    parent.kill()
    parent.communicate()
    wait_until(lambda: not child.exists() or ") Z" in child.read_text())


def test_missing_program_is_the_callers_error() -> None:
    assert end_with_parent(["/nothing/here", "-x"]) == ["/nothing/here", "-x"]


def test_descendants_are_listed_while_they_run() -> None:
    shell = subprocess.Popen(["sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE)
    assert shell.stdout is not None
    grandchild = int(shell.stdout.readline())
    assert {shell.pid, grandchild} <= set(descendants(os.getpid()))
    assert is_running(grandchild)
    os.kill(grandchild, signal.SIGKILL)
    shell.communicate()
    assert not is_running(grandchild)
    assert not is_running(shell.pid)
    assert not {shell.pid, grandchild} & set(descendants(os.getpid()))


def test_priority_of_a_session_is_lowered() -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    child = subprocess.Popen(end_with_parent(["sleep", "60"]), start_new_session=True)
    try:
        lower_priority(child.pid)
        assert os.getpriority(os.PRIO_PROCESS, child.pid) == max(own, NICENESS)
        group = Path(f"/proc/{child.pid}/autogroup")
        if group.exists() and group.read_text().strip():  # the kernel may have none
            assert group.read_text().split()[-2:] == ["nice", str(NICENESS)]
    finally:
        child.kill()
        child.wait()
    lower_priority(child.pid)  # it has ended: nothing happens


def test_priority_of_one_thread_and_those_that_it_starts_is_lowered() -> None:
    found = []

    def started() -> None:
        found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    def lowered() -> None:
        lower_thread_priority()
        inner = threading.Thread(target=started)
        inner.start()
        inner.join()

    before = os.getpriority(os.PRIO_PROCESS, 0)
    for target in (lowered, started):
        thread = threading.Thread(target=target)
        thread.start()
        thread.join()
    assert found == [max(before, NICENESS), before]
