"""The checks that need no GPU: inference, Triton, the graph. Each returns (held, what was found).

A check raises Skipped where its part cannot run here, and UserError where what it ran failed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import closing, suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from statistics import median
from typing import Any

from xpnet.bench.server_bench import FRAME_MODEL, BenchSettings, bench_server, served_runtime
from xpnet.bench.server_report import added_latency_ms
from xpnet.card import read_card
from xpnet.diagnostics.check_context import Site, Skipped
from xpnet.diagnostics.reference_masks import (
    CLIP,
    DRAWN,
    NUMBERS,
    StoredMasks,
    dice,
    drawn_masks,
    masks_of,
    stored_masks,
    wanted_frames,
)
from xpnet.errors import UserError
from xpnet.frames import Frame, Mask, frame_to_tensor
from xpnet.images import frame_count
from xpnet.serving.model_config import DEFAULT_MODEL, onnx_name
from xpnet.serving.onnx_inference import OnnxInference
from xpnet.serving.triton_client import TritonInference
from xpnet.serving.triton_server import ServerSettings, running_server

EXACT = 0.99
"""Dice of the reference runtime's masks with the stored ones: another CPU rounds otherwise."""
HALF = 0.98
"""The same of a plan in FP16."""
BFLOAT = 0.95
"""The same of a runtime that computes in bfloat16, which has an eighth of FP16's precision: where
the network is unsure of an edge, the edge moves."""
DRAWN_WELL = 0.02
"""What reading masks back from a video may cost: compression moves their edges."""
ADDED_MS = 3.0
"""What Triton may add to a frame, two requests at a time; measured: docs/serving-speed.md."""
PACE = 0.02
"""Share by which a clip may be shown slower than it is."""
Result = tuple[bool, str]
Address = IPv4Address | IPv6Address


def reference_masks(site: Site) -> Result:
    """ONNX Runtime on every model's stored frames."""
    return _in_process(site, "onnxruntime", EXACT)


def served_masks(site: Site) -> Result:
    """The runtime that serves on this machine, on the same frames; its time is noted."""
    return _in_process(site, served_runtime(), served_precision())


def triton_masks(site: Site) -> Result:
    """Every model of the server over gRPC, and the model for whole frames."""
    server, frames, found, expected = site.server(), frames_of(site), {}, {}
    for model in server.models:
        stored = stored_of(site, model)
        if model == FRAME_MODEL:
            masks = {n: _whole_frame(server.grpc_url, frame) for n, frame in frames.items()}
        else:
            card = read_card(site.repository / model / "card.json")
            with closing(TritonInference(server.grpc_url, model, card)) as inference:
                masks = masks_of(inference, frames)
        found[model] = dice(masks, stored.masks)
        plan = (site.repository / model / "1" / "model.plan").is_file()
        expected[model] = HALF if plan else served_precision()
    return _all_agree(found, expected)


def loopback(site: Site) -> Result:
    """The addresses on which the server's ports listen, as the kernel lists them."""
    server = site.server()
    urls = (server.http_url, server.grpc_url, server.metrics_url)
    ports = {int(url.rsplit(":", 1)[1]) for url in urls}
    hosts = sorted({host for host, port in _listening() if port in ports}, key=str)
    words = ", ".join(str(host) for host in hosts) or "nothing"
    return bool(hosts) and all(h.is_loopback for h in hosts), f"its ports listen on {words}"


def graph_masks(site: Site) -> Result:
    """The graph on the clip: a mask for every frame, and the stored ones where they are stored."""
    summary = _graph(site)
    agreed = dice(drawn_masks(site.folder / "graph.mp4"), stored_of(site, DEFAULT_MODEL).masks)
    whole = summary["frames"] == frame_count(CLIP) and summary["frames_without_mask"] == 0
    expected = served_precision() - DRAWN_WELL
    return whole and agreed >= expected, (
        f"{summary['frames']} frames, {summary['frames_without_mask']} without a mask; drawn masks "
        f"agree with the stored ones by Dice {agreed:.4f}, expected {expected:g}"
    )


def nothing_else_written(site: Site) -> Result:
    """What the graph left in the folder that it was started in."""
    _graph(site)
    asked = {"graph.mp4", "graph.json"}
    left = site.once("left", lambda: sorted(p.name for p in site.folder.iterdir()))
    more = [name for name in left if name not in asked]
    return not more, f"besides the output that was named: {', '.join(more) or 'nothing'}"


def clip_rate(site: Site) -> Result:
    """The graph in mode latest, at the clip's own rate."""
    summary = site.graph("latest", CLIP, "--mode", "latest")
    wanted = summary["clip_fps"] * (1 - PACE)
    age = (summary["mask_age_ms"] or {}).get("p50")
    return summary["fps"] >= wanted, (
        f"{summary['fps']:g} frames a second, the clip has {summary['clip_fps']:g}; "
        f"median age of a mask {age} ms"
    )


def video_goes_on(site: Site) -> Result:
    """A server that is killed half-way: the clip is finished without masks."""
    own = ServerSettings(
        site.repository, (DEFAULT_MODEL,), http_port=0, grpc_port=0, metrics_port=0
    )
    video, note = site.folder / "killed.mp4", site.folder / "killed.json"
    with running_server(own) as server:
        process = site.start_xpnet(
            "run", CLIP, "--output", video, "--mode", "latest", "--url", server.grpc_url,
            "--json", note,
        )  # fmt: skip
        try:
            _wait_for_output(process, site.folder)
            server.kill()
            process.communicate(timeout=120)
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
    if not (video.is_file() and note.is_file()):
        return False, f"no finished output; xpnet run ended with code {process.returncode}"
    frames, total = frame_count(video), frame_count(CLIP)
    without = json.loads(note.read_text(encoding="utf-8"))["frames_without_mask"]
    held = frames == total and 0 < without < total and process.returncode == 2
    return held, f"{frames} of {total} frames written, {without} of them without a mask"


def triton_overhead(site: Site) -> Result:
    """perf_analyzer and inference in process by turns, on the default model."""
    try:
        found = bench_server(
            BenchSettings(
                frames=tuple(frames_of(site).values()),
                csv_dir=site.folder / "perf_analyzer",
                models=(DEFAULT_MODEL,),
                transports=("grpc+system",),
                batching=("on",),
                concurrency=1,
                window_ms=500,
                rounds=5,
                repository=site.repository,
            )
        )
    except UserError as error:
        if "perf_analyzer is not installed" not in str(error):
            raise
        raise Skipped(str(error)) from error
    (row,) = found["against"]
    added = added_latency_ms(row)
    return added <= ADDED_MS, (
        f"{row['model']}: {row['in_process_per_second']:g} a second in process, "
        f"{row['triton_per_second']:g} through Triton: {added:.1f} ms more a frame "
        f"(median of {len(row['rounds'])} rounds by turns), expected at most {ADDED_MS:g}"
    )


def _in_process(site: Site, runtime: str, expected: float) -> Result:
    frames, found = frames_of(site), {}
    for model in _onnx_models(site):
        stored = stored_of(site, model)
        onnx = site.repository / model / "1" / "model.onnx"
        with closing(OnnxInference(onnx, runtime)) as inference:
            found[f"{model} by {runtime}"] = dice(masks_of(inference, frames), stored.masks)
            how = f"{runtime} in process, one frame after another, median of 30"
            site.figure(f"{model}, {runtime}", _milliseconds(inference, frames), "ms a frame", how)
    return _all_agree(found, dict.fromkeys(found, expected))


def served_precision() -> float:
    """The least Dice with ONNX Runtime of what computes the ONNX models in this server."""
    return BFLOAT if served_runtime() == "openvino" else EXACT


def _all_agree(found: dict[str, float], expected: dict[str, float]) -> Result:
    words = ", ".join(f"{name} {v:.4f} (expected {expected[name]})" for name, v in found.items())
    return all(v >= expected[name] for name, v in found.items()), f"Dice {words}"


def _onnx_models(site: Site) -> list[str]:
    return sorted(p.parents[1].name for p in site.repository.glob("*/1/model.onnx"))


def frames_of(site: Site) -> dict[int, Frame]:
    """The frames of the demo clip whose masks are stored, by their numbers."""
    frames: dict[int, Frame] = site.once("frames", lambda: wanted_frames(CLIP))
    return frames


def stored_of(site: Site, model: str) -> StoredMasks:
    """The stored masks that a model is compared with: a plan's are those of its ONNX model."""
    if model == FRAME_MODEL:
        model = DEFAULT_MODEL
    elif (site.repository / model / "card.json").is_file() and not model.endswith("_onnx"):
        model = onnx_name(read_card(site.repository / model / "card.json"))
    return stored_masks(site.repository, model)


def _milliseconds(inference: OnnxInference, frames: dict[int, Frame]) -> float:
    card = inference.card
    tensor = frame_to_tensor(frames[NUMBERS[0]], card.input.height, card.input.width)
    times = []
    for _ in range(30):
        start = time.perf_counter()
        inference.submit(tensor).result()
        times.append(time.perf_counter() - start)
    return median(times) * 1000


def _graph(site: Site) -> dict[str, Any]:
    def run() -> dict[str, Any]:
        summary = site.graph("graph", CLIP, "--colour", DRAWN, "--opacity", 1)
        site.once("left", lambda: sorted(p.name for p in site.folder.iterdir()))
        how = f"xpnet run, {summary['model']}, each frame with its own mask"
        site.figure("the graph", summary["fps"], "frames a second", how)
        site.figure("the graph, latency p50", summary["latency_ms"]["p50"], "ms", how)
        site.figure("the graph, latency p99", summary["latency_ms"]["p99"], "ms", how)
        return summary

    summary: dict[str, Any] = site.once("graph", run)
    return summary


def _whole_frame(url: str, frame: Frame) -> Mask:
    from tritonclient import grpc

    request = grpc.InferInput("frame", list(frame.shape), "UINT8")
    request.set_data_from_numpy(frame)
    with closing(grpc.InferenceServerClient(url)) as client:
        mask: Mask = client.infer(FRAME_MODEL, [request]).as_numpy("mask") // 255
    return mask


def _listening() -> list[tuple[Address, int]]:
    """Addresses and ports that this machine listens on; Linux, proc(5)."""
    found = []
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in Path("/proc/net", table).read_text(encoding="ascii").splitlines()[1:]:
                local, state = line.split()[1], line.split()[3]
                if state == "0A":  # TCP_LISTEN
                    host, port = local.split(":")
                    found.append((_address(bytes.fromhex(host)), int(port, 16)))
    return found


def _address(raw: bytes) -> Address:
    """The kernel writes an address as words of 32 bits, each in the machine's order."""
    words = [raw[i : i + 4] for i in range(0, len(raw), 4)]
    turned = b"".join(w[::-1] if sys.byteorder == "little" else w for w in words)
    address = ip_address(turned)
    return getattr(address, "ipv4_mapped", None) or address


def _wait_for_output(process: subprocess.Popen[str], folder: Path) -> None:
    """Until the graph has written something, and a second and a half more."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if any(p.stat().st_size > 0 for p in folder.glob(".killed.mp4*")):
            time.sleep(1.5)
            return
        time.sleep(0.1)
    raise UserError("xpnet run wrote nothing within 60 s")
