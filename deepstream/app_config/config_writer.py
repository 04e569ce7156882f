"""Ready files for `deepstream-app -c FILE`, made from a model's card: what `xpnet deploy` writes.

A cart is a platform, its sources, its sinks and a way of inference. `render` turns one into two
or three files of text; nothing else in the project writes such files.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from deepstream.app_config import app_groups as app
from deepstream.app_config import infer_config, key_files
from deepstream.app_config.deployment import PLATFORMS, Cart, Platform, sink_kind, source_kind
from deepstream.app_config.key_tables import APP
from deepstream.io.frame_rate import exact_frame_rate
from xpnet.addresses import check_port, without_credentials
from xpnet.card import Card, read_card, read_model_card
from xpnet.errors import UserError
from xpnet.files import write_text
from xpnet.paths import MODEL_REPOSITORY, ROOT
from xpnet.serving.model_config import onnx_name

log = logging.getLogger("xpnet.deploy")

CONFIGS = ROOT / "deepstream" / "app_config" / "examples"
LABELS = "labels.txt"
RTSP_LATENCY_MS = 100
RECONNECT_S = 5
FIRST_RTSP_PORT, FIRST_UDP_PORT = 8554, 5400
PLAYBACK_TIMEOUT_US = 40_000


def render(cart: Cart, folder: Path, repository: Path = MODEL_REPOSITORY) -> dict[str, str]:
    """File name to text: the deepstream-app file, its inference's config, the labels.

    `folder` is where they will lie: the paths in them are relative to it.

    Raises:
        UserError: parts that do not go together, or a card that does not fit.
    """
    folder = folder.absolute()
    platform = PLATFORMS[cart.platform]
    card = read_model_card(repository, cart.model)
    infer_config.check_size("--size", cart.height, cart.width, card)
    infer_name = f"infer_{cart.infer_name}.txt"
    inference = _inference(cart, platform, card, folder, repository)
    return {
        f"cart_{cart.name}.txt": _header(cart, platform) + _app(cart, platform, card, folder,
                                                                 infer_name),
        infer_name: _infer_header(cart) + inference,
        LABELS: "polyp\n",
    }  # fmt: skip


def write(carts: list[Cart], folder: Path, repository: Path = MODEL_REPOSITORY) -> list[Path]:
    """Writes the files of every cart into `folder`, made if need be; returns those to launch."""
    files = [render(cart, folder, repository) for cart in carts]  # all, before any is written
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be made: {error.strerror}") from error
    for cart, texts in zip(carts, files, strict=True):
        for name, text in texts.items():
            secret = any(without_credentials(word) != word and word in text for word in cart.sources)
            write_text(folder / name, text, private=secret)
            if secret:
                log.warning("%s holds a camera's password: readable for you alone", folder / name)
    return [folder / next(iter(texts)) for texts in files]


def plan_file(model: str, repository: Path = MODEL_REPOSITORY) -> Path:
    """Where the TensorRT plan of a model is looked for."""
    return repository / model / "1" / "model.plan"


def onnx_file(card: Card, repository: Path = MODEL_REPOSITORY) -> Path:
    """The ONNX file that the plan is built from."""
    return repository / onnx_name(card) / "1" / "model.onnx"


def relative(path: Path, folder: Path) -> str:
    """As the configs name it: relative within the project, absolute where that would be a maze."""
    path = path.absolute()
    inside = path.is_relative_to(ROOT) and folder.is_relative_to(ROOT)
    return os.path.relpath(path, folder) if inside else str(path)


def _inference(
    cart: Cart, platform: Platform, card: Card, folder: Path, repository: Path
) -> str:  # fmt: skip
    batch = len(cart.sources)
    if cart.triton == "inprocess":
        root = relative(repository, folder)
        return infer_config.in_process(card, batch, root, LABELS, cart.probabilities)
    if cart.triton == "grpc":
        server = infer_config.Server.of(cart.url, platform.jetson)
        return infer_config.over_grpc(card, batch, server, LABELS, cart.probabilities)
    onnx = onnx_file(card, repository)
    other = read_card(onnx.parent.parent / "card.json")
    if other.input.shape != card.input.shape:
        raise UserError(
            f"plan {card.name} is {card.input.height} x {card.input.width}, its ONNX file "
            f"{other.input.height} x {other.input.width}: nvinfer needs both of one size "
            "(`xpnet export`)"
        )
    plan = plan_file(cart.model, repository)
    return infer_config.without_triton(
        card, batch, relative(onnx, folder), relative(plan, folder), LABELS
    )


def _app(cart: Cart, platform: Platform, card: Card, folder: Path, infer_name: str) -> str:
    batch = len(cart.sources)
    timeout = int(1_000_000 / cart.fps) if cart.live else PLAYBACK_TIMEOUT_US
    groups: list[tuple[str, Any]] = [("application", app.Application())]
    for number, word in enumerate(cart.sources):
        groups.append((f"source{number}", _source(cart, word, folder)))
    groups += [
        ("streammux", app.Muxer(batch, cart.width, cart.height, int(cart.live), timeout)),
        (
            "primary-gie",
            app.Inference(
                int(cart.triton != "none"), batch, infer_name, infer_config.UNIQUE_ID
            ),
        ),
        ("segvisual", app.SegVisual(batch, card.output.width, card.output.height)),
        ("tiled-display", app.tiles(batch, cart.width, cart.height)),
        ("osd", app.Osd()),
    ]  # fmt: skip
    for number, word in enumerate(cart.sinks):
        groups.append((f"sink{number}", _sink(cart, platform, word, number)))
    return key_files.write(groups, APP)


def _source(cart: Cart, word: str, folder: Path) -> app.Source:
    kind = source_kind(word)
    if kind == "v4l2":
        fps = exact_frame_rate(cart.fps)
        return app.Source(
            app.V4L2,
            camera_width=cart.width,
            camera_height=cart.height,
            camera_fps_n=fps.numerator,
            camera_fps_d=fps.denominator,
            camera_v4l2_dev_node=int(word.removeprefix("/dev/video")),
        )
    if kind == "rtsp":
        return app.Source(
            app.RTSP,
            uri=word,
            latency=RTSP_LATENCY_MS,
            select_rtp_protocol=app.RTP_OVER_TCP,
            rtsp_reconnect_interval_sec=RECONNECT_S,
            rtsp_reconnect_attempts=-1,
        )
    path = Path(word.removeprefix("file://"))
    if not path.is_file():
        raise UserError(f"--source {word}: no such file")
    return app.Source(app.URI, uri=f"file://{relative(path, folder)}")


def _sink(cart: Cart, platform: Platform, word: str, number: int) -> app.Sink:
    kind = sink_kind(word)
    # A clip on a screen plays at its own rate; everything else goes as fast as it comes.
    sync = int(not cart.live and kind in {"screen", "drm"})
    if kind == "screen":
        return app.Sink(app.SCREEN, sync, width=cart.width, height=cart.height)
    if kind == "drm":
        if not platform.drm:
            raise UserError("--sink drm: nvdrmvideosink exists on a Jetson alone; take screen")
        return app.Sink(app.DRM, sync)
    encoder = app.encoder(cart.software_encoder)
    if kind == "file":
        container = app.MP4 if Path(word).suffix.lower() == ".mp4" else app.MKV
        return app.Sink(app.FILE, sync, container=container, output_file=word, **encoder)
    port = word.partition(":")[2] or str(FIRST_RTSP_PORT + number)
    return app.Sink(
        app.RTSP_OUT,
        sync,
        rtsp_port=check_port(port, f"--sink {word}"),
        udp_port=FIRST_UDP_PORT + number,
        **encoder,
    )


def _header(cart: Cart, platform: Platform) -> str:
    """The elements in their order, and what the reader of the file has to know."""
    inference = "nvinfer" if cart.triton == "none" else "nvinferserver"
    sources = {
        "v4l2": platform.camera,
        "rtsp": "rtspsrc, decodebin, nvvideoconvert",
        "file": "uridecodebin, nvvideoconvert",
    }
    encoder = "x264enc" if cart.software_encoder else "nvv4l2h264enc"
    sinks = {
        "screen": platform.screen,
        "drm": "nvdrmvideosink",
        "file": f"{encoder}, filesink",
        "rtsp": f"{encoder}, rtph264pay, udpsink to an RTSP server",
    }
    lines = ["Made by `xpnet deploy`: change the generator, not this file.", ""]
    for number, word in enumerate(cart.sources):
        lines.append(f"source {number}: {sources[source_kind(word)]}")
    lines.append(f"then:     nvstreammux, {inference}, nvsegvisual, nvmultistreamtiler")
    for number, word in enumerate(cart.sinks):
        lines.append(f"sink {number}:   {sinks[sink_kind(word)]}")
    if any(sink_kind(x) == "file" for x in cart.sinks):
        lines.append("A relative output-file lies where deepstream-app is started.")
    lines += warnings(cart)
    return "".join(f"# {line}".rstrip() + "\n" for line in lines) + "\n"


def warnings(cart: Cart) -> list[str]:
    """What whoever runs a cart has to know: the head of its file and the command say it."""
    listens = any(sink_kind(x) == "rtsp" for x in cart.sinks)
    return [RTSP_WARNING] * listens + [FRAGILE_WARNING] * cart.fragile


RTSP_WARNING = "RTSP out (/ds-test) listens on every address and asks for no password."
"""start_rtsp_streaming in deepstream_sink_bin.c sets a port and nothing else."""
FRAGILE_WARNING = "A source that fails ends deepstream-app, and with it the other pictures."


def _infer_header(cart: Cart) -> str:
    words = {
        "inprocess": "nvinferserver, the plan in the graph's own process (Triton's C API)",
        "grpc": "nvinferserver, the plan in a tritonserver of its own, over gRPC",
        "none": "nvinfer, without Triton",
    }
    return (
        f"# {words[cart.triton]}.\n"
        "# Made by `xpnet deploy` from the model's card: change the card or the generator, "
        "not this file.\n\n"
    )
