"""Runs the cart's service under a systemd of its own and lets it fail; needs root.

Usage: sudo python3 scripts/prove_service.py [USER]     USER runs the service (nobody)

The systemd runs in Linux namespaces, with copies of /etc and of the unit, so that the machine's own
services and files stay as they are. It needs systemd and util-linux, no booted systemd. The service
shows the test pattern as an RTSP stream, in place of a camera and a screen.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[1]
SYSTEMD = Path("/lib/systemd/systemd")
UNIT = "xpnet-cart.service"
PORT, RTSP_PORT = 8097, 8597
LOG = Path("/run/xpnet-cart.log")
START_S = 90.0
"""Longest time until the service shows its first frame, or its first mask."""
WATCHDOG_S = 20.0
DROP_IN = f"""[Service]
StandardOutput=append:{LOG}
StandardError=append:{LOG}
Environment=PYTHONPATH=/run/hang
"""
SETTINGS = f"""XPNET_SOURCE=testpattern
XPNET_SINK=rtsp://127.0.0.1:{RTSP_PORT}/masks
XPNET_OPTIONS=--control {PORT}
"""
HANG = """import signal, time
signal.signal(signal.SIGUSR1, lambda *_: time.sleep(1e6))
"""
"""sitecustomize of the service: SIGUSR1 hangs the main thread, as a driver might."""
GROUPS = "video", "render"


def fail(message: str) -> NoReturn:
    """End with a message."""
    sys.exit(f"prove_service: {message}")


def enter(user: str) -> None:
    """Prepare the namespaces in which this process is, and become systemd."""

    def mount(*words: str) -> None:
        subprocess.run(["mount", *words], check=True)

    mount("--make-rprivate", "/")
    mount("-t", "tmpfs", "tmpfs", "/run")
    subprocess.run(["cp", "-a", "/etc", "/run/etc"], check=True)
    mount("--bind", "/run/etc", "/etc")
    mount("-t", "tmpfs", "tmpfs", "/var/lib")
    # Only what the service needs is started: not what the machine starts at boot.
    mount("-t", "tmpfs", "tmpfs", "/etc/systemd/system")
    for folder in Path("/lib/systemd/system").glob("*.target.wants"):
        mount("-t", "tmpfs", "tmpfs", str(folder))
    mount("-t", "tmpfs", "tmpfs", "/sys/fs/cgroup")
    if Path("/proc/self/cgroup").read_text(encoding="utf-8").startswith("0::"):  # version 2 only
        mount("-t", "cgroup2", "cgroup2", "/sys/fs/cgroup")
    else:
        for name, options in (
            ("systemd", ("-t", "cgroup", "-o", "none,name=systemd")),
            ("unified", ("-t", "cgroup2")),
        ):
            Path("/sys/fs/cgroup", name).mkdir()
            mount(*options, "cgroup", f"/sys/fs/cgroup/{name}")
    with Path("/etc/group").open("a+", encoding="utf-8") as file:
        file.seek(0)
        known = {line.split(":")[0] for line in file}
        file.writelines(f"{name}:x:{990 + n}:\n" for n, name in enumerate(GROUPS)
                        if name not in known)  # fmt: skip
    units = Path("/etc/systemd/system")
    printed = subprocess.run(
        [ROOT / "scripts" / "install_service.sh", "--print"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    (units / UNIT).write_text(re.sub("^User=.*", f"User={user}", printed, flags=re.M))
    (units / f"{UNIT}.d").mkdir()
    (units / f"{UNIT}.d" / "proof.conf").write_text(DROP_IN)
    (units / "proof.target").write_text("[Unit]\nDefaultDependencies=no\n")
    for name in ("dbus.service", "dbus.socket", "systemd-udevd.service"):
        (units / name).symlink_to("/dev/null")
    Path("/etc/xpnet").mkdir(exist_ok=True)
    Path("/etc/xpnet/cart.conf").write_text(SETTINGS)
    Path("/run/hang").mkdir()
    Path("/run/hang/sitecustomize.py").write_text(HANG)
    os.execve(
        SYSTEMD,
        ["systemd", "--system", "--unit=proof.target", "--log-target=console"],
        {**os.environ, "container": "xpnet"},
    )


class Machine:
    """The systemd in its namespaces.

    Args:
        user: Who runs the service.
        log: File for systemd's own messages.
    """

    def __init__(self, user: str, log: Path) -> None:
        self._unshare = subprocess.Popen(
            ["unshare", "--fork", "--kill-child", "--pid", "--mount", "--uts", "--ipc", "--cgroup",
             "--mount-proc", sys.executable, __file__, "--inside", user],
            stdout=log.open("w"), stderr=subprocess.STDOUT,
        )  # fmt: skip
        self._log = log

    def wait_until_booted(self) -> None:
        """Wait until systemd answers, or end."""
        self.wait("systemd's start", lambda: bool(self._systemctl("show", "-p", "Version")), 20)

    def _pid(self) -> str:
        path = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children")
        return path.read_text().strip() if path.exists() else ""

    def _systemctl(self, *words: str) -> str:
        pid = self._pid()
        if self._unshare.poll() is None and not pid:
            return ""
        if not pid:
            fail(f"systemd ended: {self._log.read_text()[-800:]}")
        done = subprocess.run(
            ["nsenter", "-t", pid, "-m", "-p", "-u", "-i", "-C", "systemctl", *words],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.stdout

    def tell(self, *words: str) -> None:
        """Run systemctl on the service."""
        self._systemctl(*words, UNIT)

    def state(self, name: str) -> str:
        """Return a property of the service."""
        return self._systemctl("show", "-p", name, "--value", UNIT).strip()

    def service_log(self) -> str:
        """Return what the service printed."""
        path = Path(f"/proc/{self._pid()}/root{LOG}")
        return path.read_text(errors="replace") if path.exists() else ""

    def root_options(self) -> str:
        """Return the mount options of the service's root file system."""
        inside = self.state("MainPID")
        for path in Path("/proc").glob("[0-9]*/status"):
            numbers = re.search(r"^NSpid:\s*(.*)$", path.read_text(), re.M)
            words = numbers[1].split() if numbers else []
            if len(words) == 2 and words[1] == inside:
                found = re.search(r"^\S+ \S+ \S+ / / (\S+)",
                                  path.with_name("mountinfo").read_text(), re.M)  # fmt: skip
                return found[1] if found else ""
        return ""

    def wait(self, what: str, holds: Callable[[], bool], seconds: float) -> float:
        """Wait until something holds; return the seconds, or end with what did not come."""
        start = time.monotonic()
        while time.monotonic() - start < seconds:
            if holds():
                return time.monotonic() - start
            time.sleep(0.2)
        fail(
            f"{what}: not within {seconds:g} s; the service printed:\n{self.service_log()[-1500:]}"
        )
        return 0.0

    def close(self) -> None:
        """End systemd and all that runs in its namespaces."""
        self._unshare.kill()
        self._unshare.wait()


def metric(name: str) -> float:
    """Return a metric of the service, or 0 if it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/metrics", timeout=2) as answer:
            metrics = answer.read().decode()
    except OSError:
        return 0.0
    found = re.search(rf"^{name} ([\d.e+]+)$", metrics, re.M)
    return float(found[1]) if found else 0.0


def has_frames() -> bool:
    """Return whether the service has shown a frame."""
    return metric("xpnet_frames_total") > 0


def has_masks() -> bool:
    """Return whether inference answers."""
    return metric("xpnet_assistant_ready") == 1


def prove(machine: Machine) -> None:
    """Start the service, hang it, kill it and stop it; print what was found."""

    def restarts() -> int:
        return int(machine.state("NRestarts") or 0)

    def report(what: str, seconds: float) -> None:
        print(f"{what}: {seconds:.1f} s", flush=True)

    machine.tell("start")
    report("from the start to the first frame", machine.wait("a frame", has_frames, START_S))
    report("from then to the first result of inference", machine.wait("masks", has_masks, START_S))
    machine.wait("the watchdog", lambda: machine.state("WatchdogUSec") == f"{WATCHDOG_S:g}s", 10)
    print(f"watchdog of the service: {machine.state('WatchdogUSec')}")
    options = machine.root_options()
    if "ro" not in options.split(","):
        fail(f"root file system of the service: {options}, expected ro")
    print("root file system of the service: read-only")

    machine.tell("kill", "--kill-whom=main", "--signal=SIGUSR1")
    again = machine.wait("a restart after a hang", lambda: restarts() == 1, WATCHDOG_S + 15)
    report("main thread hangs: killed, and started again after", again)
    if "sitecustomize.py" not in machine.service_log():
        fail(f"no trace of the hang in the log:\n{machine.service_log()[-1500:]}")
    print("the log names the line that hung")
    report("from then to the first frame", machine.wait("a frame", has_frames, START_S))

    machine.tell("kill", "--kill-whom=main", "--signal=SIGSTOP")
    again = machine.wait("a restart after SIGSTOP", lambda: restarts() == 2, WATCHDOG_S + 20)
    report("all threads stopped: killed, and started again after", again)
    machine.wait("masks", has_masks, START_S)

    machine.tell("kill", "--kill-whom=main", "--signal=SIGKILL")
    again = machine.wait("a restart after SIGKILL", lambda: restarts() == 3, 15)
    report("killed: started again after", again)
    machine.wait("masks", has_masks, START_S)

    start = time.monotonic()
    machine.tell("stop")
    report("stopped within", time.monotonic() - start)
    state, result = machine.state("ActiveState"), machine.state("Result")
    if (state, result) != ("inactive", "success"):
        fail(f"after `systemctl stop`: {state}, {result}; expected inactive, success")
    print("after `systemctl stop`: inactive, success")


def main() -> None:
    """Check what is needed, and prove."""
    if sys.argv[1:2] == ["--inside"]:
        enter(sys.argv[2])
    user = sys.argv[1] if len(sys.argv) > 1 else "nobody"
    if os.geteuid() != 0:
        fail("needs root, for namespaces")
    if not SYSTEMD.exists():
        fail(f"{SYSTEMD}: not found; install systemd")
    xpnet = ROOT / ".venv" / "bin" / "xpnet"
    if subprocess.run(["runuser", "-u", user, "--", "test", "-x", xpnet], check=False).returncode:
        fail(f"{xpnet}: the user {user} cannot run it; name another user")
    with tempfile.TemporaryDirectory(prefix="xpnet-service-") as folder:
        machine = Machine(user, Path(folder) / "systemd.log")
        try:
            machine.wait_until_booted()
            prove(machine)
        finally:
            machine.close()
    print("prove_service: done")


if __name__ == "__main__":
    main()
