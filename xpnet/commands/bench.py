"""`xpnet bench`: benchmarks of networks, of the server and of a Jetson."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from xpnet.commands.options import TRAIN_HINT, add_command, add_frames, add_repository
from xpnet.commands.report_files import (
    add_report_files,
    check_report_files,
    write_report_files,
)
from xpnet.errors import UserError, not_installed
from xpnet.paths import BUILD, ROOT

SHORT_BENCH: dict[str, Any] = {
    "models": ("xpnet_lite_onnx",), "transports": ("grpc", "grpc+system"), "batching": ("on",),
    "concurrency": 2, "rounds": 3,
}  # fmt: skip
"""Defaults of `xpnet bench server`: an impression in about a minute."""
FULL_BENCH: dict[str, Any] = {
    "models": (), "transports": ("http", "grpc", "grpc+system", "grpc+cuda"),
    "batching": ("on", "off"), "concurrency": 8, "rounds": 7,
}  # fmt: skip
"""Its defaults with --full; no models: all that can be served."""


def add_bench(commands: Any) -> None:
    """Add `xpnet bench`, which only names its further commands."""
    add_command(
        commands,
        "bench",
        "measure the server, the networks or a Jetson",
        "xpnet bench server --models xpnet_lite_onnx --rounds 3",
        bench,
    )


def add_roofline(commands: Any) -> None:
    """Add `xpnet bench roofline`."""
    roof = add_command(
        commands,
        "bench roofline",
        "compute the least time a frame that arithmetic and memory allow on known devices",
        "xpnet bench roofline --size 512 --plot build/roofline.png",
        roofline,
    )
    roof.add_argument(
        "--size", type=int, default=512, help="height and width in pixels (default: 512)"
    )
    add_report_files(roof, plot=True)


def add_network(commands: Any) -> None:
    """Add `xpnet bench network`."""
    net = add_command(
        commands,
        "bench network",
        "time every network in every runtime of this CPU, or in every form on a GPU",
        "xpnet bench network --networks lite --sizes 256 --rounds 5",
        network,
    )
    net.add_argument(
        "--device",
        choices=("cpu", "cuda"),
        default="cpu",
        help="cuda: time each form of the networks in half precision on an NVIDIA GPU, with CUDA "
        "graphs; --rounds, --runtimes, --forms and --plot do not apply to it (default: cpu)",
    )
    net.add_argument(
        "--engines",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="with --device cuda, also time these TensorRT plans and TensorRT-RTX engines, with "
        "their copies (default: the plans of the repository)",
    )
    net.add_argument("--sizes", type=int, nargs="+", default=[512], help="pixels (default: 512)")
    net.add_argument(
        "--batches", type=int, nargs="+", default=[1], help="frames of one call (default: 1)"
    )
    net.add_argument(
        "--networks",
        nargs="+",
        default=["unet", "teacher", "student", "lite"],
        help="what to time; also peers, such as basicunet and segresnet: an unknown "
        "name lists all (default: unet teacher student lite)",
    )
    net.add_argument(
        "--runtimes",
        nargs="+",
        default=["onnxruntime", "openvino", "torch.compile"],
        help="some of onnxruntime, openvino and torch.compile, which takes minutes to compile "
        "(default: all three)",
    )
    net.add_argument(
        "--rounds", type=int, default=15, help="each times everything once (default: %(default)s)"
    )
    net.add_argument(
        "--forms",
        action="append",
        default=[],
        metavar="NETWORK=FILE",
        help="file of `xpnet export tune`: also time that form of the network",
    )
    add_report_files(net, section="network", plot=True)
    add_repository(net)
    add_frames(net)


def add_server(commands: Any) -> None:
    """Add `xpnet bench server`."""
    p = add_command(
        commands,
        "bench server",
        "run NVIDIA's perf_analyzer on the served models and measure the cost of Triton",
        "xpnet bench server --models xpnet_lite_onnx --rounds 3 --json build/server.json",
        server,
    )
    p.add_argument(
        "--full",
        action="store_true",
        help="measure everything, as in docs/serving-speed.md: more than 15 minutes",
    )
    p.add_argument(
        "--models",
        nargs="+",
        help="of the repository (default: xpnet_lite_onnx; with --full or --url all that can be "
        "served)",
    )
    p.add_argument(
        "--transports",
        nargs="+",
        help="of http, grpc, grpc+system and grpc+cuda; the last one is compared with inference "
        "in process (default: grpc and grpc+system; with --full all that this machine has)",
    )
    p.add_argument(
        "--batching",
        nargs="+",
        choices=("on", "off"),
        help="dynamic batching, of a server that is started here (default: on; with --full both)",
    )
    p.add_argument(
        "--concurrency",
        type=int,
        help="1 to so many requests at a time (default: 2; with --full 8)",
    )
    p.add_argument(
        "--window-ms",
        type=int,
        default=2000,
        help="length of a measurement of perf_analyzer (default: %(default)s)",
    )
    p.add_argument(
        "--rounds",
        type=int,
        help="of Triton and in process alternately (default: 3; with --full 7)",
    )
    p.add_argument(
        "--url", default="", metavar="HOST:PORT", help="gRPC of a running Triton, here or elsewhere"
    )
    p.add_argument("--http-url", default="", metavar="HOST:PORT", help="its HTTP address")
    p.add_argument(
        "--csv",
        type=Path,
        default=BUILD / "perf_analyzer",
        metavar="DIR",
        help="folder for perf_analyzer's files (default: build/perf_analyzer)",
    )
    add_report_files(p, section="server", plot=True)
    add_repository(p)
    add_frames(p)


def add_tegrastats(commands: Any) -> None:
    """Add `xpnet bench tegrastats`."""
    p = add_command(
        commands,
        "bench tegrastats",
        "summarise load, memory, power and temperature from a Jetson's log",
        "xpnet bench tegrastats tests/xpnet/bench/logs/jetpack6.log",
        tegrastats,
    )
    p.add_argument("log", type=Path, help="file of `tegrastats --logfile`")
    p.add_argument(
        "--interval",
        type=int,
        default=1000,
        metavar="MS",
        help="between lines without a date (default: %(default)s, as tegrastats')",
    )
    add_report_files(p, plot=True)


def bench(_args: argparse.Namespace) -> int:
    """Refuse `xpnet bench` without the name of a benchmark."""
    raise UserError(
        "bench: expected graph, device, server, network, training, archive, soak, faults, "
        "steadiness, check, roofline or tegrastats after it"
    )


def roofline(args: argparse.Namespace) -> int:
    """Run `xpnet bench roofline`."""
    try:
        from training.bench.roofline import as_lines, draw
        from training.bench.roofline import roofline as count
    except ImportError as error:
        raise not_installed(str(error.name), "the roofline", TRAIN_HINT) from error
    if args.size < 1:
        raise UserError(f"--size {args.size}: expected pixels, a multiple of 16")
    check_report_files(args)
    try:
        found = count(args.size)
    except ValueError as error:
        raise UserError(f"--size {args.size}: {error}") from error
    write_report_files(args, found, "\n".join(as_lines(found)), draw=draw)
    return 0


def network(args: argparse.Namespace) -> int:
    """Run `xpnet bench network`."""
    try:
        from training.bench.gpu_bench import bench_gpu, gpu_table
        from training.bench.network_bench import NetworkBench, bench_network
        from training.bench.network_report import as_markdown, draw
        from training.export.layer_forms import read_forms
        from training.settings import parse_overrides
        from xpnet.bench.engine_times import built_plans
        from xpnet.images import sample_frames
    except ImportError as error:
        raise not_installed(str(error.name), "timing networks", TRAIN_HINT) from error
    check_report_files(args)
    if args.engines and args.device != "cuda":
        raise UserError("--engines: only with --device cuda")
    if args.device == "cuda":
        if args.plot:
            raise UserError("--plot: not with --device cuda")
        engines = built_plans(args.repository) if args.engines is None else args.engines
        found = bench_gpu(args.networks, args.sizes, args.batches, engines)
        write_report_files(args, found, gpu_table(found), "network")
        return 0
    named = parse_overrides(args.forms)
    found = bench_network(
        NetworkBench(
            args.networks,
            args.sizes,
            args.batches,
            args.rounds,
            sample_frames(args.frames, 4),  # scales of INT8 hardly matter to its speed
            ROOT / "training" / "weights",
            args.repository,
            args.runtimes,
            {name: read_forms(Path(path)) for name, path in named.items()},
        )
    )
    write_report_files(args, found, as_markdown(found), "network", draw)
    return 0


def server(args: argparse.Namespace) -> int:
    """Run `xpnet bench server`."""
    from xpnet.bench.server_bench import BenchSettings, bench_server
    from xpnet.bench.server_report import as_markdown, draw
    from xpnet.images import sample_frames

    check_report_files(args)
    chosen: dict[str, Any] = dict(FULL_BENCH if args.full else SHORT_BENCH)
    if args.url:
        chosen["models"] = ()  # a running server may serve others
    for name in chosen:
        value = getattr(args, name)
        if value is not None:
            chosen[name] = tuple(value) if isinstance(value, list) else value
    found = bench_server(
        BenchSettings(
            frames=tuple(sample_frames(args.frames, 8)),
            csv_dir=args.csv,
            **chosen,
            window_ms=args.window_ms,
            url=args.url,
            http_url=args.http_url,
            repository=args.repository,
        )
    )
    write_report_files(args, found, as_markdown(found), "server", draw)
    return 0


def tegrastats(args: argparse.Namespace) -> int:
    """Run `xpnet bench tegrastats`."""
    from xpnet.bench.tegrastats import draw, format_summary, read_log, summarise

    if args.interval < 1:
        raise UserError(f"--interval {args.interval}: expected at least 1 ms")
    check_report_files(args, (args.log,))
    log = read_log(args.log, args.interval)
    found = summarise(log)
    text = "\n".join(format_summary(found))
    write_report_files(args, found, text, draw=lambda _, path: draw(log, path))
    return 0
