"""What docs/containers.md says of the containers, asked of the engine and of the kernel below it.

Each check returns what it found, in words for a table, and raises Failed where something else
was there. They run in the order of CHECKS: what one of them starts, a later one may ask.
"""

from __future__ import annotations

import json
import re
import socket
import time

from tests.docker.docker_engine import (  # fmt: skip
    LONG_S,
    PORTS,
    PROJECT,
    SHORT_S,
    VOLUME,
    Failed,
    Result,
    compose,
    docker,
    done,
    inspected,
    last_line,
    wait_for,
    wait_until_healthy,
)

IMAGE = "xpnet:cpu"
DEMO = "docs/demo/colonoscopy.mp4"
FRAMES = 338
"""Of the demo clip."""
SERVER, GRAPH = f"{PROJECT}-triton-cpu-1", f"{PROJECT}-graph"
IN_MEMORY = {"/dev", "/dev/shm", "/dev/mqueue", "/dev/pts", "/tmp"}
LONG_CLIP = 300
"""Frames, shown ten a second: Triton is back before they end, on a slow machine, too."""

DECODE = """
import sys, cv2
clip, frames = cv2.VideoCapture(sys.argv[1]), 0
while clip.read()[0]:
    frames += 1
print(frames)
"""
SPLIT = f"""
import pathlib, cv2
folder = pathlib.Path("/data/frames")
folder.mkdir()
clip = cv2.VideoCapture("{DEMO}")
for number in range({LONG_CLIP}):
    cv2.imwrite(str(folder / f"{{number:04}}.jpg"), clip.read()[1])
"""
KILL = """
import os, pathlib, signal
for place in pathlib.Path("/proc").glob("[0-9]*"):
    if (place / "comm").read_text().strip() == "tritonserver":
        os.kill(int(place.name), signal.SIGKILL)
"""
WRITABLE = r"find / \( -path /proc -o -path /sys \) -prune -o -type d -writable -print 2> /dev/null"


def cart() -> str:
    """Profile `cpu`: exit code, and the demo's frames in the volume."""
    words = ("--no-build", "--abort-on-container-exit", "--exit-code-from", "cart-cpu")
    said = done(compose("cpu", "up", *words, timeout_s=LONG_S))
    frames, speed = told_frames(said), re.search(r"[\d.]+ frames a second", said)
    written = frames_of("/data/demo.mp4")
    if written != FRAMES:
        raise Failed(f"/data/demo.mp4 has {written} frames, expected {FRAMES}")
    return f"exit code 0; in the volume {frames}, {speed[0] if speed else ''}"


def without_network() -> str:
    """Plain `docker run` of the image, cut off from every network."""
    return told_frames(done(docker("run", "--rm", "--network", "none", IMAGE, timeout_s=LONG_S)))


def split() -> str:
    """Profile `cpu-split`: the graph waits for a healthy Triton; both end in order."""
    up = compose("cpu-split", "up", "--no-build", "--exit-code-from", "graph-cpu", timeout_s=LONG_S)
    frames = told_frames(done(up))
    code = inspected(SERVER)["State"]["ExitCode"]
    if code:
        raise Failed(f"triton-cpu ended with exit code {code}, expected 0")
    return f"triton-cpu healthy, then {frames}; both ended with exit code 0"


def health() -> str:
    """`triton-cpu` alone: starting, then healthy."""
    done(compose("cpu-split", "up", "--no-build", "--detach", "triton-cpu"))
    first = inspected(SERVER)["State"]["Health"]["Status"]
    seconds = wait_until_healthy(SERVER)
    return f"{first}, and healthy after {seconds:.0f} s (it is asked every 10 s)"


def nobody() -> str:
    """Process 1 as the kernel sees it: its user, no capabilities, no new privileges, seccomp."""
    rows = done(docker("exec", SERVER, "cat", "/proc/1/status")).splitlines()
    status = {name: value.split() for name, _, value in (row.partition(":") for row in rows)}
    held = {name: int(value[0], 16) for name, value in status.items() if name.startswith("Cap")}
    found = (set(status["Uid"]), sum(held.values()), status["NoNewPrivs"], status["Seccomp"])
    if found != ({"10001"}, 0, ["1"], ["2"]):
        raise Failed(f"user, capabilities, no new privileges, seccomp are {found}")
    return "user 10001; no capability, not even a bounding one; NoNewPrivs 1; seccomp on"


def read_only() -> str:
    """Every folder that root and the image's user may write to, looked for in all of them."""
    root, user = (
        set(outermost(done(docker("exec", "--user", who, SERVER, "sh", "-c", f"{WRITABLE}; true"))))
        for who in ("0:0", "10001:10001")
    )
    if not root <= IN_MEMORY or not user <= {*IN_MEMORY, "/data"} or "/data" not in user:
        raise Failed(f"root may write to {sorted(root)}, user 10001 to {sorted(user)}")
    return f"root: {', '.join(sorted(root))}; user 10001: {', '.join(sorted(user))}"


def ports() -> str:
    """Published on 127.0.0.1 alone: as the engine says, and as this machine's addresses answer."""
    published = inspected(SERVER)["NetworkSettings"]["Ports"]
    hosts = {row["HostIp"] for rows in published.values() for row in rows or []}
    if hosts != {"127.0.0.1"} or len(published) != len(PORTS):
        raise Failed(f"published: {published}")
    gateways = done(docker("network", "inspect", "bridge", f"{PROJECT}_default", "--format",
                           "{{range .IPAM.Config}}{{.Gateway}} {{end}}")).split()  # fmt: skip
    others = sorted({*gateways, *own_addresses()})
    open_at = [f"{a}:{p}" for a in ("127.0.0.1", *others) for p in PORTS if answers(a, p)]
    if open_at != [f"127.0.0.1:{port}" for port in PORTS]:
        raise Failed(f"open at {open_at}")
    return f"127.0.0.1 answers; {len(others)} other addresses of this machine refuse"


def crash() -> str:
    """Triton dies half-way: the graph goes on, Triton is started again, masks come back."""
    done(in_server(SPLIT))
    words = ("/data/frames", "--fps", "10", "--mode", "latest", "--url", "triton-cpu:8001")
    outputs = ("--output", "/data/crash.mp4", "--json", "/data/crash.json")
    done(compose("cpu-split", "run", "--detach", "--no-deps", "--name", GRAPH, "graph-cpu", "run",
                 *words, *outputs))  # fmt: skip
    wait_until_written("/data/crash.mp4")
    done(in_server(KILL))
    code = done(docker("wait", GRAPH))
    log = docker("logs", GRAPH).stderr
    docker("rm", GRAPH)
    run = json.loads(done(docker("exec", SERVER, "cat", "/data/crash.json")))
    restarts, without = inspected(SERVER)["RestartCount"], run["frames_without_mask"]
    written = frames_of("/data/crash.mp4")
    # 2: that frames went without a mask is no end in order, though the file is whole.
    if (code, written, restarts) != ("2", LONG_CLIP, 1) or not 0 < without < LONG_CLIP:
        said = last_line(docker("logs", SERVER).stderr)
        raise Failed(f"exit code {code}, {written} frames, {without} without a mask, "
                     f"{restarts} restarts: {said}")  # fmt: skip
    if "answers again" not in log:
        raise Failed(f"masks did not come back: {last_line(log)}")
    wait_until_healthy(SERVER)
    return (f"all {written} frames in the file, {without} of them ({without / 10:.0f} s) without a "
            "mask, so exit code 2; Triton started again by Docker, healthy")  # fmt: skip


def stopped_server() -> str:
    """`docker stop` on Triton: in order, before Docker's ten seconds are over."""
    code, seconds = stopped(SERVER)
    return f"exit code {code} after {seconds:.1f} s"


def stopped_graph() -> str:
    """`docker stop` on a graph half-way: the file holds what was drawn up to there."""
    words = ("run", DEMO, "--mode", "latest", "--output", "/data/stopped.mp4")
    done(compose("cpu", "run", "--detach", "--name", GRAPH, "cart-cpu", *words))
    wait_until_written("/data/stopped.mp4")
    code, seconds = stopped(GRAPH)
    docker("rm", GRAPH)
    written = frames_of("/data/stopped.mp4")
    if not 0 < written < FRAMES:
        raise Failed(f"/data/stopped.mp4 has {written} frames, expected 1 to {FRAMES - 1}")
    return f"exit code {code} after {seconds:.1f} s; its file plays, {written} frames"


CHECKS = (
    ("`docker compose --profile cpu up`", cart),
    ("`docker run --network none xpnet:cpu`", without_network),
    ("`docker compose --profile cpu-split up`", split),
    ("`triton-cpu`: health", health),
    ("its rights", nobody),
    ("where it may write", read_only),
    ("its ports", ports),
    ("tritonserver killed under a graph", crash),
    ("`docker stop` on it", stopped_server),
    ("`docker stop` on a graph half-way", stopped_graph),
)


def told_frames(said: str) -> str:
    """What a graph says at its end of the demo clip; Failed where frames or polyps are missing."""
    found = re.search(r"(\d+) frames, (\d+) with a polyp", said)
    if not found or int(found[1]) != FRAMES or not int(found[2]):
        raise Failed(f"expected {FRAMES} frames, with polyps: {last_line(said)}")
    return found[0]


def outermost(listing: str) -> list[str]:
    """Of folders, one a line, those that lie in none of the others but /dev."""
    folders = listing.split()
    return [f for f in folders if not any(f.startswith(f"{o}/") for o in folders if o != "/dev")]


def own_addresses() -> list[str]:
    """This machine's addresses but the loopback's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent: it asks which address would be
        except OSError:
            return []
        return [str(probe.getsockname()[0])]


def answers(address: str, port: int) -> bool:
    """Whether anything listens there."""
    with socket.socket() as probe:
        probe.settimeout(2)
        return not probe.connect_ex((address, port))


def in_server(program: str) -> Result:
    """Runs Python inside triton-cpu."""
    return docker("exec", SERVER, "python", "-c", program)


def frames_of(path: str) -> int:
    """Frames that decode, of a video in the volume."""
    words = ("--volume", f"{VOLUME}:/data", "--entrypoint", "python", IMAGE, "-c", DECODE, path)
    return int(done(docker("run", "--rm", "--network", "none", *words)))


def wait_until_written(path: str) -> None:
    """Waits for the first bytes of a video that the graph writes."""

    def written() -> bool:
        # The file has another name until it is complete.
        found = docker("exec", GRAPH, "sh", "-c", f"find /data -name '*{path[6:]}*' -size +64k")
        return bool(found.stdout.strip())

    wait_for(path, written)


def stopped(container: str) -> tuple[int, float]:
    """Exit code and seconds of `docker stop`; Failed where Docker had to kill it."""
    start = time.monotonic()
    done(docker("stop", container, timeout_s=SHORT_S))
    seconds = time.monotonic() - start
    code = int(inspected(container)["State"]["ExitCode"])
    if code:
        raise Failed(f"{container}: exit code {code} after {seconds:.1f} s, expected 0")
    return code, seconds
