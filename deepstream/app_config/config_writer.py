"""`xpnet deploy`: writes files for `deepstream-app -c FILE` from a model's card.

`render` turns a deployment into two or three text files. Nothing else in the project writes such
files.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from deepstream.app_config import app_groups as app
from deepstream.app_config import infer_config, key_files
from deepstream.app_config.deployment import PLATFORMS, Deployment, Platform, sink_kind, source_kind
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


def render(
    deployment: Deployment, folder: Path, repository: Path = MODEL_REPOSITORY
) -> dict[str, str]:
    """Return the files of a deployment by name: deepstream-app's, inference's, and the labels.

    Args:
        deployment: The deployment.
        folder: Folder that the files will be in; paths in them are relative to it.
        repository: The Triton model repository.

    Raises:
        UserError: Parts of the deployment exclude each other, or the card does not match.
    """
    folder = folder.absolute()
    platform = PLATFORMS[deployment.platform]
    card = read_model_card(repository, deployment.model)
    infer_config.check_size("--size", deployment.height, deployment.width, card)
    infer_name = f"infer_{deployment.infer_name}.txt"
    inference = _inference(deployment, platform, card, folder, repository)
    return {
        f"cart_{deployment.name}.txt": _header(deployment, platform)
        + _app(deployment, platform, card, folder, infer_name),
        infer_name: _infer_header(deployment) + inference,
        LABELS: "polyp\n",
    }  # fmt: skip


def write(
    deployments: list[Deployment], folder: Path, repository: Path = MODEL_REPOSITORY
) -> list[Path]:
    """Write the files of deployments and return those for deepstream-app.

    Args:
        deployments: The deployments.
        folder: Folder for the files; created if missing.
        repository: The Triton model repository.
    """
    # All of them before the first is written
    files = [render(deployment, folder, repository) for deployment in deployments]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be made: {error.strerror}") from error
    for deployment, texts in zip(deployments, files, strict=True):
        for name, text in texts.items():
            secret = any(
                without_credentials(word) != word and word in text for word in deployment.sources
            )
            write_text(folder / name, text, private=secret)
            if secret:
                log.warning("%s holds a camera's password: readable for you alone", folder / name)
    return [folder / next(iter(texts)) for texts in files]


def plan_file(model: str, repository: Path = MODEL_REPOSITORY) -> Path:
    """Return where the TensorRT plan of a model is expected."""
    return repository / model / "1" / "model.plan"


def onnx_file(card: Card, repository: Path = MODEL_REPOSITORY) -> Path:
    """Return the ONNX file that the plan is built from."""
    return repository / onnx_name(card) / "1" / "model.onnx"


def relative(path: Path, folder: Path) -> str:
    """Return a path for the configs: relative inside the project, else absolute."""
    path = path.absolute()
    inside = path.is_relative_to(ROOT) and folder.is_relative_to(ROOT)
    return os.path.relpath(path, folder) if inside else str(path)


def _inference(
    deployment: Deployment, platform: Platform, card: Card, folder: Path, repository: Path
) -> str:  # fmt: skip
    batch = len(deployment.sources)
    if deployment.triton == "inprocess":
        root = relative(repository, folder)
        return infer_config.in_process(card, batch, root, LABELS, deployment.probabilities)
    if deployment.triton == "grpc":
        server = infer_config.Server.of(deployment.url, platform.jetson)
        return infer_config.over_grpc(card, batch, server, LABELS, deployment.probabilities)
    onnx = onnx_file(card, repository)
    other = read_card(onnx.parent.parent / "card.json")
    if other.input.shape != card.input.shape:
        raise UserError(
            f"plan {card.name} is {card.input.height} x {card.input.width}, its ONNX file "
            f"{other.input.height} x {other.input.width}: nvinfer needs both of one size "
            "(`xpnet export`)"
        )
    plan = plan_file(deployment.model, repository)
    return infer_config.without_triton(
        card, batch, relative(onnx, folder), relative(plan, folder), LABELS
    )


def _app(
    deployment: Deployment, platform: Platform, card: Card, folder: Path, infer_name: str
) -> str:
    batch = len(deployment.sources)
    timeout = int(1_000_000 / deployment.fps) if deployment.live else PLAYBACK_TIMEOUT_US
    groups: list[tuple[str, Any]] = [("application", app.Application())]
    for number, word in enumerate(deployment.sources):
        groups.append((f"source{number}", _source(deployment, word, folder)))
    width, height = deployment.width, deployment.height
    groups += [
        ("streammux", app.Muxer(batch, width, height, int(deployment.live), timeout)),
        (
            "primary-gie",
            app.Inference(
                int(deployment.triton != "none"), batch, infer_name, infer_config.UNIQUE_ID
            ),
        ),
        ("segvisual", app.SegVisual(batch, card.output.width, card.output.height)),
        ("tiled-display", app.tiles(batch, width, height)),
        ("osd", app.Osd()),
    ]  # fmt: skip
    for number, word in enumerate(deployment.sinks):
        groups.append((f"sink{number}", _sink(deployment, platform, word, number)))
    return key_files.write(groups, APP)


def _source(deployment: Deployment, word: str, folder: Path) -> app.Source:
    kind = source_kind(word)
    if kind == "v4l2":
        fps = exact_frame_rate(deployment.fps)
        return app.Source(
            app.V4L2,
            camera_width=deployment.width,
            camera_height=deployment.height,
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


def _sink(deployment: Deployment, platform: Platform, word: str, number: int) -> app.Sink:
    kind = sink_kind(word)
    # a clip on a screen plays at its own rate; everything else as fast as it arrives
    sync = int(not deployment.live and kind in {"screen", "drm"})
    if kind == "screen":
        return app.Sink(app.SCREEN, sync, width=deployment.width, height=deployment.height)
    if kind == "drm":
        if not platform.drm:
            raise UserError("--sink drm: nvdrmvideosink exists on a Jetson alone; take screen")
        return app.Sink(app.DRM, sync)
    encoder = app.encoder(deployment.software_encoder)
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


def _header(deployment: Deployment, platform: Platform) -> str:
    """Return the header of a file: the elements in order, and notes for its reader."""
    inference = "nvinfer" if deployment.triton == "none" else "nvinferserver"
    sources = {
        "v4l2": platform.camera,
        "rtsp": "rtspsrc, decodebin, nvvideoconvert",
        "file": "uridecodebin, nvvideoconvert",
    }
    encoder = "x264enc" if deployment.software_encoder else "nvv4l2h264enc"
    sinks = {
        "screen": platform.screen,
        "drm": "nvdrmvideosink",
        "file": f"{encoder}, filesink",
        "rtsp": f"{encoder}, rtph264pay, udpsink to an RTSP server",
    }
    lines = ["Generated by `xpnet deploy`: change the generator, not this file.", ""]
    for number, word in enumerate(deployment.sources):
        lines.append(f"source {number}: {sources[source_kind(word)]}")
    lines.append(f"then:     nvstreammux, {inference}, nvsegvisual, nvmultistreamtiler")
    for number, word in enumerate(deployment.sinks):
        lines.append(f"sink {number}:   {sinks[sink_kind(word)]}")
    if any(sink_kind(x) == "file" for x in deployment.sinks):
        lines.append(
            "A relative output-file is written to the folder where deepstream-app is started."
        )
    lines += warnings(deployment)
    return "".join(f"# {line}".rstrip() + "\n" for line in lines) + "\n"


def warnings(deployment: Deployment) -> list[str]:
    """Return warnings about a deployment; its file and the command print them."""
    listens = any(sink_kind(x) == "rtsp" for x in deployment.sinks)
    return [RTSP_WARNING] * listens + [FRAGILE_WARNING] * deployment.stops_at_any_error


RTSP_WARNING = "RTSP out (/ds-test) listens on every address and asks for no password."
"""start_rtsp_streaming in deepstream_sink_bin.c sets nothing but a port."""
FRAGILE_WARNING = "A source that fails ends deepstream-app, and with it all other pictures."


def _infer_header(deployment: Deployment) -> str:
    words = {
        "inprocess": "nvinferserver, the plan in the graph's own process (Triton's C API)",
        "grpc": "nvinferserver, the plan in a separate tritonserver, over gRPC",
        "none": "nvinfer, without Triton",
    }
    return (
        f"# {words[deployment.triton]}.\n"
        "# Generated by `xpnet deploy` from the model's card: change the card or the generator, "
        "not this file.\n\n"
    )
