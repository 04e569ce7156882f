"""`xpnet bench`: benchmarks of networks, of the server and of a Jetson."""

from __future__ import annotations

import argparse
import json
from contextlib import closing
from pathlib import Path
from typing import Any

from xpnet.commands.options import TRAIN_HINT, add_command, add_frames, add_repository
from xpnet.errors import UserError, not_installed
from xpnet.files import check_distinct, check_writable, write_text
from xpnet.paths import DEMO_CLIP, ROOT
from xpnet.serving.model_config import DEFAULT_MODEL

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
    roof.add_argument("--json", type=Path, metavar="FILE", help="write all rows as JSON")
    roof.add_argument("--plot", type=Path, metavar="FILE", help="draw it: .png, .svg or .pdf")


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
        "graphs; only --networks, --sizes and --json apply to it (default: cpu)",
    )
    net.add_argument("--sizes", type=int, nargs="+", default=[512], help="pixels (default: 512)")
    net.add_argument(
        "--networks",
        nargs="+",
        default=["unet", "teacher", "student", "lite"],
        help="(default: unet teacher student lite)",
    )
    net.add_argument(
        "--runtimes",
        nargs="+",
        default=["onnxruntime", "openvino", "torch.compile"],
        help="some of onnxruntime, openvino and torch.compile, which takes minutes to compile "
        "(default: all three)",
    )
    net.add_argument("--rounds", type=int, default=15, help="(default: %(default)s)")
    net.add_argument(
        "--forms",
        action="append",
        default=[],
        metavar="NETWORK=FILE",
        help="file of `xpnet export tune`: also time that form of the network",
    )
    net.add_argument("--json", type=Path, metavar="FILE", help="write all rows as JSON")
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
        help="(default: xpnet_lite_onnx; with --full or --url all that can be served)",
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
    p.add_argument("--window-ms", type=int, default=2000, help="(default: %(default)s)")
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
        default=ROOT / "build" / "perf_analyzer",
        metavar="DIR",
        help="folder for perf_analyzer's files (default: build/perf_analyzer)",
    )
    p.add_argument("--json", type=Path, metavar="FILE", help="write all rows as JSON")
    p.add_argument("--markdown", type=Path, metavar="FILE", help="write the table")
    p.add_argument("--plot", type=Path, metavar="FILE", help="draw it: .png, .svg or .pdf")
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
    p.add_argument("--json", type=Path, metavar="FILE", help="write the summary as JSON")
    p.add_argument("--plot", type=Path, metavar="FILE", help="draw it: .png, .svg or .pdf")


def add_soak(commands: Any) -> None:
    """Add `xpnet bench soak`."""
    p = add_command(
        commands,
        "bench soak",
        "run live for a long time: frames lost, added latency, memory",
        "xpnet bench soak --minutes 60 --json build/soak.json --plot build/soak.png",
        soak,
    )
    p.add_argument("--minutes", type=float, default=60, help="(default: %(default)g)")
    p.add_argument(
        "--clip",
        type=Path,
        default=DEMO_CLIP,
        help="played as if live, again and again (default: the demo clip)",
    )
    p.add_argument("--height", type=int, default=720, help="of the frames (default: %(default)s)")
    p.add_argument("--width", type=int, default=1280, help="of the frames (default: %(default)s)")
    p.add_argument(
        "--pattern-fps", type=float, metavar="FPS", help="a test pattern of this rate, no clip"
    )
    p.add_argument("--backend", default="triton", help="as of `xpnet run` (default: %(default)s)")
    p.add_argument("--json", type=Path, metavar="FILE", help="write the report with all samples")
    p.add_argument("--plot", type=Path, metavar="FILE", help="draw it: .png, .svg or .pdf")


def soak(args: argparse.Namespace) -> int:
    """Run `xpnet bench soak`; return 2 if frames were lost or the run failed."""
    from xpnet.bench.soak import SoakSettings, as_lines, draw
    from xpnet.bench.soak import soak as run_soak
    from xpnet.figures import check_figure

    if args.json:
        check_writable(args.json)
    if args.plot:
        check_figure(args.plot)
    settings = SoakSettings(
        args.minutes,
        args.clip,
        args.height,
        args.width,
        args.pattern_fps,
        ("--backend", args.backend),
    )
    report = run_soak(settings)
    print("\n".join(as_lines(report)))
    if args.json:
        write_text(args.json, json.dumps(report, indent=2) + "\n")
    if args.plot:
        draw(report, args.plot)
    return 2 if report["frames_lost"] else 0


def add_faults(commands: Any) -> None:
    """Add `xpnet bench faults`."""
    p = add_command(
        commands,
        "bench faults",
        "let server, source and clients of a live run fail: frames lost, time until masks are back",
        "xpnet bench faults --times 10 --json build/faults.json --markdown build/faults.md",
        faults,
    )
    p.add_argument("--times", type=int, default=10, help="of each fault (default: %(default)s)")
    p.add_argument(
        "--only", action="append", default=[], metavar="FAULT", help="a fault of the table; repeat"
    )
    p.add_argument("--clip", type=Path, default=DEMO_CLIP, help="(default: the demo clip)")
    p.add_argument("--height", type=int, default=720, help="of the frames (default: %(default)s)")
    p.add_argument("--width", type=int, default=1280, help="of the frames (default: %(default)s)")
    p.add_argument("--json", type=Path, metavar="FILE", help="write the table as JSON")
    p.add_argument("--markdown", type=Path, metavar="FILE", help="write the table as Markdown")


def faults(args: argparse.Namespace) -> int:
    """Run `xpnet bench faults`; return 2 if a frame was lost."""
    from xpnet.bench.faults.all_faults import FAULTS
    from xpnet.bench.faults.injection import FaultSettings
    from xpnet.bench.faults.table import as_markdown, bench_faults

    for path in (args.json, args.markdown):
        if path:
            check_writable(path)
    report = bench_faults(
        FaultSettings(args.times, tuple(args.only), args.clip, args.height, args.width), FAULTS
    )
    table = as_markdown(report)
    print(table, end="")
    if args.json:
        write_text(args.json, json.dumps(report, indent=2) + "\n")
    if args.markdown:
        write_text(args.markdown, table)
    return 2 if any(row["frames_lost"] for row in report["rows"]) else 0


def add_steadiness(commands: Any) -> None:
    """Add `xpnet bench steadiness`."""
    p = add_command(
        commands,
        "bench steadiness",
        "compare steadied masks with raw ones: flicker, lag, marks, Dice",
        "xpnet bench steadiness --json build/steadiness.json --markdown build/steadiness.md",
        steadiness,
    )
    p.add_argument("--model", default=DEFAULT_MODEL, help="(default: %(default)s)")
    p.add_argument("--clip", type=Path, default=DEMO_CLIP, help="(default: the demo clip)")
    p.add_argument(
        "--without-polyp",
        type=float,
        default=5.0,
        metavar="SECONDS",
        help="so many seconds at the start of the clip show no polyp (default: %(default)g)",
    )
    p.add_argument(
        "--sequences", type=Path, metavar="DIR", help="a data set whose groups are consecutive "
        "frames; they count as 25 a second",
    )  # fmt: skip
    p.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON")
    p.add_argument("--markdown", type=Path, metavar="FILE", help="write the table as Markdown")
    add_repository(p)


def steadiness(args: argparse.Namespace) -> int:
    """Run `xpnet bench steadiness`."""
    from xpnet.bench.steadiness import as_markdown, in_process, read_clip, report
    from xpnet.paths import onnx_path
    from xpnet.serving.onnx_inference import OnnxInference

    for path in (args.json, args.markdown):
        if path:
            check_writable(path)
    with closing(OnnxInference(onnx_path(args.repository / args.model))) as inference:
        infer = in_process(inference)
        clips = [read_clip(args.clip, None, infer)]
        if args.without_polyp > 0:
            clips.append(read_clip(args.clip, args.without_polyp, infer))
        if args.sequences:
            clips += labelled_sequences(args.sequences, infer)
        found = report(clips, inference.card)
    table = as_markdown(found)
    print(table, end="")
    if args.json:
        write_text(args.json, json.dumps(found, indent=2) + "\n")
    if args.markdown:
        write_text(args.markdown, table)
    return 0


def labelled_sequences(folder: Path, infer: Any) -> list[Any]:
    """Return the groups of a data set, one after the other, as one sequence with true masks.

    Args:
        folder: The data set.
        infer: Returns the map of a frame.

    Raises:
        UserError: It cannot be read.
    """
    from training.data.readers import read_data_set
    from xpnet.bench.steadiness import read_groups
    from xpnet.images import natural_key

    samples = sorted(
        read_data_set(folder).samples,
        key=lambda s: (natural_key(s.group), natural_key(s.pair.stem)),
    )
    return [read_groups(folder.name, samples, infer)]


def bench(_args: argparse.Namespace) -> int:
    """Refuse `xpnet bench` without the name of a benchmark."""
    raise UserError(
        "bench: expected graph, device, server, network, soak, faults, steadiness, roofline or "
        "tegrastats after it"
    )


def roofline(args: argparse.Namespace) -> int:
    """Run `xpnet bench roofline`."""
    from xpnet.figures import check_figure

    try:
        from training.bench.roofline import as_lines, draw
        from training.bench.roofline import roofline as count
    except ImportError as error:
        raise not_installed(str(error.name), "the roofline", TRAIN_HINT) from error
    if args.size < 1:
        raise UserError(f"--size {args.size}: expected pixels, a multiple of 16")
    if args.json:
        check_writable(args.json)
    if args.plot:
        check_figure(args.plot)
    try:
        found = count(args.size)
    except ValueError as error:
        raise UserError(f"--size {args.size}: {error}") from error
    print("\n".join(as_lines(found)))
    if args.json:
        write_text(args.json, json.dumps(found, indent=2) + "\n")
    if args.plot:
        draw(found, args.plot)
    return 0


def network(args: argparse.Namespace) -> int:
    """Run `xpnet bench network`."""
    try:
        from training.bench.gpu_bench import bench_gpu, gpu_table
        from training.bench.network_bench import as_markdown, bench_network
        from training.export.layer_forms import read_forms
        from training.settings import parse_overrides
        from xpnet.images import sample_frames
    except ImportError as error:
        raise not_installed(str(error.name), "timing networks", TRAIN_HINT) from error
    if args.rounds < 1:
        raise UserError(f"--rounds {args.rounds}: expected at least 1")
    if args.json:
        check_writable(args.json)
    if args.device == "cuda":
        found = bench_gpu(args.networks, args.sizes, batches=[1, 8])
        print(gpu_table(found), end="")
    else:
        named = parse_overrides(args.forms)
        found = bench_network(
            args.networks,
            args.sizes,
            args.rounds,
            sample_frames(args.frames, 4),  # scales of INT8 hardly matter to its speed
            ROOT / "training" / "weights",
            args.repository,
            {name: read_forms(Path(path)) for name, path in named.items()},
            args.runtimes,
        )
        print(as_markdown(found), end="")
    if args.json:
        write_text(args.json, json.dumps(found, indent=2) + "\n")
    return 0


def server(args: argparse.Namespace) -> int:
    """Run `xpnet bench server`."""
    from xpnet.bench.server_bench import BenchSettings, bench_server
    from xpnet.bench.server_report import as_markdown, draw
    from xpnet.figures import check_figure
    from xpnet.images import sample_frames

    for path in (args.json, args.markdown):
        if path:
            check_writable(path)
    if args.plot:
        check_figure(args.plot)
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
    table = as_markdown(found)
    print(table, end="")
    if args.json:
        write_text(args.json, json.dumps(found, indent=2) + "\n")
    if args.markdown:
        write_text(args.markdown, table)
    if args.plot:
        draw(found, args.plot)
    return 0


def tegrastats(args: argparse.Namespace) -> int:
    """Run `xpnet bench tegrastats`."""
    from xpnet.bench.tegrastats import draw, format_summary, read_log, summarise
    from xpnet.figures import check_figure

    if args.interval < 1:
        raise UserError(f"--interval {args.interval}: expected at least 1 ms")
    check_distinct((args.json, args.plot), (args.log,))
    if args.json:
        check_writable(args.json)
    if args.plot:
        check_figure(args.plot)
    log = read_log(args.log, args.interval)
    found = summarise(log)
    print("\n".join(format_summary(found)))
    if args.json:
        write_text(args.json, json.dumps(found, indent=2) + "\n")
    if args.plot:
        draw(log, args.plot)
    return 0
