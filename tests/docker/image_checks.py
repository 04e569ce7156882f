"""The claims of docs/containers.md about the containers, checked with the engine and the kernel.

Each check returns what it found, in words for a table, or raises CheckFailed. The checks run in the
order of CHECKS: a later one uses the containers that an earlier one started.
"""

from __future__ import annotations

import json
import re
import socket
import time

from tests.docker.docker_engine import (
    LONG_TIMEOUT_S,
    PORTS,
    PROJECT,
    VOLUME,
    CheckFailed,
    Result,
    checked_output,
    compose,
    docker,
    inspect,
    last_line,
    wait_for,
    wait_until_healthy,
)
from xpnet.serving.triton_client import AVAILABLE_AGAIN

IMAGE = "xpnet:cpu"
DEMO_CLIP = "docs/demo/colonoscopy.mp4"
CLIP_FRAMES = 338
"""Frames of the demo clip."""
SERVER, GRAPH = f"{PROJECT}-triton-cpu-1", f"{PROJECT}-graph"
MEMORY_DIRS = {"/dev", "/dev/shm", "/dev/mqueue", "/dev/pts", "/tmp"}
CRASH_FPS = 10
CRASH_FRAMES = 300
"""Frames of the run whose server is killed: Triton restarts before they end, also on a slow CPU."""

COUNT_FRAMES = """
import sys, cv2
clip, frames = cv2.VideoCapture(sys.argv[1]), 0
while clip.read()[0]:
    frames += 1
print(frames)
"""
WRITE_FRAMES = f"""
import pathlib, cv2
folder = pathlib.Path("/data/frames")
folder.mkdir()
clip = cv2.VideoCapture("{DEMO_CLIP}")
for number in range({CRASH_FRAMES}):
    cv2.imwrite(str(folder / f"{{number:04}}.jpg"), clip.read()[1])
"""
KILL_TRITON = """
import os, pathlib, signal
for process in pathlib.Path("/proc").glob("[0-9]*"):
    if (process / "comm").read_text().strip() == "tritonserver":
        os.kill(int(process.name), signal.SIGKILL)
"""
FIND_WRITABLE = (
    r"find / \( -path /proc -o -path /sys \) -prune -o -type d -writable -print 2> /dev/null"
)


def check_cpu_profile() -> str:
    """Run the profile `cpu`: its exit code is 0, and the video in the volume is complete."""
    options = ("--no-build", "--abort-on-container-exit", "--exit-code-from", "cart-cpu")
    output = checked_output(compose("cpu", "up", *options, timeout_s=LONG_TIMEOUT_S))
    frames, rate = parse_frames(output), parse_rate(output)
    written = count_frames("/data/demo.mp4")
    if written != CLIP_FRAMES:
        raise CheckFailed(f"/data/demo.mp4 has {written} frames, expected {CLIP_FRAMES}")
    return f"exit code 0; in the volume {frames}, {rate}"


def check_without_network() -> str:
    """Run the image with `docker run --network none`."""
    run = docker("run", "--rm", "--network", "none", IMAGE, timeout_s=LONG_TIMEOUT_S)
    return parse_frames(checked_output(run))


def check_split_profile() -> str:
    """Run the profile `cpu-split`: the graph waits for a healthy Triton; both exit with 0."""
    options = ("--no-build", "--exit-code-from", "graph-cpu")
    frames = parse_frames(
        checked_output(compose("cpu-split", "up", *options, timeout_s=LONG_TIMEOUT_S))
    )
    code = inspect(SERVER)["State"]["ExitCode"]
    if code:
        raise CheckFailed(f"triton-cpu: exit code {code}, expected 0")
    return f"triton-cpu healthy, then {frames}; both exit codes 0"


def check_health() -> str:
    """Start `triton-cpu` and wait until it is healthy."""
    checked_output(compose("cpu-split", "up", "--no-build", "--detach", "triton-cpu"))
    first = inspect(SERVER)["State"]["Health"]["Status"]
    seconds = wait_until_healthy(SERVER)
    return f"{first}, and healthy after {seconds:.0f} s (checked every 10 s)"


def check_privileges() -> str:
    """Check process 1 in the kernel: user, capabilities, no new privileges, seccomp."""
    rows = checked_output(docker("exec", SERVER, "cat", "/proc/1/status")).splitlines()
    status = {name: value.split() for name, _, value in (row.partition(":") for row in rows)}
    capabilities = [int(value[0], 16) for name, value in status.items() if name.startswith("Cap")]
    found = (set(status["Uid"]), sum(capabilities), status["NoNewPrivs"], status["Seccomp"])
    if found != ({"10001"}, 0, ["1"], ["2"]):
        raise CheckFailed(f"user, capabilities, no new privileges, seccomp are {found}")
    return "user 10001; no capabilities, the bounding set is empty; NoNewPrivs 1; seccomp on"


def check_writable_folders() -> str:
    """Search all folders for those that root and the image's user may write to."""
    root, user = (
        set(outermost_folders(checked_output(docker(
            "exec", "--user", uid, SERVER, "sh", "-c", f"{FIND_WRITABLE}; true"
        ))))
        for uid in ("0:0", "10001:10001")
    )  # fmt: skip
    if not root <= MEMORY_DIRS or not user <= {*MEMORY_DIRS, "/data"} or "/data" not in user:
        raise CheckFailed(f"root may write to {sorted(root)}, user 10001 to {sorted(user)}")
    return f"root: {', '.join(sorted(root))}; user 10001: {', '.join(sorted(user))}"


def check_ports() -> str:
    """Check that ports are published on 127.0.0.1 only: ask the engine, and try to connect."""
    published = inspect(SERVER)["NetworkSettings"]["Ports"]
    addresses = {row["HostIp"] for rows in published.values() for row in rows or []}
    if addresses != {"127.0.0.1"} or len(published) != len(PORTS):
        raise CheckFailed(f"published: {published}")
    gateways = checked_output(docker("network", "inspect", "bridge", f"{PROJECT}_default",
        "--format", "{{range .IPAM.Config}}{{.Gateway}} {{end}}")).split()  # fmt: skip
    others = sorted({*gateways, *own_addresses()})
    opened = [f"{a}:{p}" for a in ("127.0.0.1", *others) for p in PORTS if is_open(a, p)]
    if opened != [f"127.0.0.1:{port}" for port in PORTS]:
        raise CheckFailed(f"open: {opened}")
    return f"127.0.0.1 answers; {len(others)} other addresses of this machine refuse"


def check_crash() -> str:
    """Kill Triton during a run: the graph continues, Triton restarts, and masks are back."""
    checked_output(run_in_server(WRITE_FRAMES))
    arguments = ("/data/frames", "--fps", str(CRASH_FPS), "--mode", "latest",
                 "--url", "triton-cpu:8001",
                 "--output", "/data/crash.mp4", "--json", "/data/crash.json")  # fmt: skip
    options = ("--detach", "--no-deps", "--name", GRAPH)
    checked_output(compose("cpu-split", "run", *options, "graph-cpu", "run", *arguments))
    wait_until_written("/data/crash.mp4")
    checked_output(run_in_server(KILL_TRITON))
    code = checked_output(docker("wait", GRAPH))
    log = docker("logs", GRAPH).stderr
    docker("rm", GRAPH)
    summary = json.loads(checked_output(docker("exec", SERVER, "cat", "/data/crash.json")))
    restarts, without = inspect(SERVER)["RestartCount"], summary["frames_without_mask"]
    written = count_frames("/data/crash.mp4")
    # The exit code is 2 because frames have no mask, although the file is complete.
    if (code, written, restarts) != ("2", CRASH_FRAMES, 1) or not 0 < without < CRASH_FRAMES:
        reason = last_line(docker("logs", SERVER).stderr)
        raise CheckFailed(
            f"exit code {code}, {written} frames, {without} without a mask, {restarts} restarts: "
            f"{reason}"
        )
    if AVAILABLE_AGAIN not in log:
        raise CheckFailed(f"masks were not back before the end: {last_line(log)}")
    wait_until_healthy(SERVER)
    return (
        f"all {written} frames in the file, {without} of them ({without / CRASH_FPS:.0f} s) "
        "without a mask, so exit code 2; Triton restarted by Docker, healthy"
    )


def check_stopped_server() -> str:
    """Stop Triton with `docker stop`: it exits with 0 before Docker's ten seconds are over."""
    code, seconds = stop(SERVER)
    return f"exit code {code} after {seconds:.1f} s"


def check_stopped_graph() -> str:
    """Stop a graph with `docker stop`: its file contains the frames up to then."""
    arguments = ("run", DEMO_CLIP, "--mode", "latest", "--output", "/data/stopped.mp4")
    checked_output(compose("cpu", "run", "--detach", "--name", GRAPH, "cart-cpu", *arguments))
    wait_until_written("/data/stopped.mp4")
    code, seconds = stop(GRAPH)
    docker("rm", GRAPH)
    written = count_frames("/data/stopped.mp4")
    if not 0 < written < CLIP_FRAMES:
        raise CheckFailed(
            f"/data/stopped.mp4 has {written} frames, expected 1 to {CLIP_FRAMES - 1}"
        )
    return f"exit code {code} after {seconds:.1f} s; its file can be decoded, {written} frames"


CHECKS = (
    ("`docker compose --profile cpu up`", check_cpu_profile),
    ("`docker run --network none xpnet:cpu`", check_without_network),
    ("`docker compose --profile cpu-split up`", check_split_profile),
    ("`triton-cpu`: health", check_health),
    ("`triton-cpu`: privileges", check_privileges),
    ("`triton-cpu`: writable folders", check_writable_folders),
    ("`triton-cpu`: ports", check_ports),
    ("tritonserver killed during a run", check_crash),
    ("`docker stop` of `triton-cpu`", check_stopped_server),
    ("`docker stop` of a graph during a run", check_stopped_graph),
)


def parse_frames(output: str) -> str:
    """Return the part of a graph's output on the demo clip that counts frames and polyps.

    Args:
        output: What `xpnet run` printed.

    Raises:
        CheckFailed: Frames are missing, or no polyp was found.
    """
    match = re.search(r"(\d+) frames, (\d+) with a polyp", output)
    if not match or int(match[1]) != CLIP_FRAMES or not int(match[2]):
        raise CheckFailed(f"expected {CLIP_FRAMES} frames, with polyps: {last_line(output)}")
    return match[0]


def parse_rate(output: str) -> str:
    """Return the part of a graph's output that has its frame rate; CheckFailed if it has none."""
    match = re.search(r"[\d.]+ fps", output)
    if match is None:
        raise CheckFailed(f"expected a frame rate: {last_line(output)}")
    return match[0]


def outermost_folders(listing: str) -> list[str]:
    """Return the folders that are in no other listed folder except /dev.

    Args:
        listing: Absolute paths, one a line.
    """
    folders = listing.split()
    return [f for f in folders if not any(f.startswith(f"{o}/") for o in folders if o != "/dev")]


def own_addresses() -> list[str]:
    """Return this machine's addresses except loopback addresses."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # selects the local address; sends nothing
        except OSError:
            return []
        return [str(probe.getsockname()[0])]


def is_open(address: str, port: int) -> bool:
    """Return whether a TCP connection to a port succeeds."""
    with socket.socket() as probe:
        probe.settimeout(2)
        return not probe.connect_ex((address, port))


def run_in_server(program: str) -> Result:
    """Run Python code in the container triton-cpu."""
    return docker("exec", SERVER, "python", "-c", program)


def count_frames(path: str) -> int:
    """Return the number of frames of a video in the volume that can be decoded."""
    options = ("--volume", f"{VOLUME}:/data", "--entrypoint", "python")
    command = (IMAGE, "-c", COUNT_FRAMES, path)
    return int(checked_output(docker("run", "--rm", "--network", "none", *options, *command)))


def wait_until_written(path: str) -> None:
    """Wait until the graph has written the first bytes of a video in /data."""
    name = path.removeprefix("/data/")

    def is_written() -> bool:
        # The file has a temporary name until it is complete.
        command = f"find /data -name '*{name}*' -size +64k"
        return bool(docker("exec", GRAPH, "sh", "-c", command).stdout.strip())

    wait_for(path, is_written)


def stop(container: str) -> tuple[int, float]:
    """Stop a container with `docker stop`; return its exit code and the seconds that it took.

    Raises:
        CheckFailed: The exit code is not 0; it is 137 if Docker had to kill the container.
    """
    start = time.monotonic()
    checked_output(docker("stop", container))
    seconds = time.monotonic() - start
    code = int(inspect(container)["State"]["ExitCode"])
    if code:
        raise CheckFailed(f"{container}: exit code {code} after {seconds:.1f} s, expected 0")
    return code, seconds
