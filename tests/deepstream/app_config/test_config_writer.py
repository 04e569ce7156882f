"""The files of `xpnet deploy`: generated from the card, checked in, and parsed by GLib."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from onnxruntime import InferenceSession

from deepstream.app_config.config_check import Checker
from deepstream.app_config.config_writer import CONFIGS, render, write
from deepstream.app_config.deployment import EXAMPLES, Deployment
from deepstream.app_config.key_files import group_name
from deepstream.app_config.key_tables import APP, NVINFER
from deepstream.app_config.nvinferserver_schema import parse
from tests.conftest import CLIP
from xpnet.card import read_card
from xpnet.errors import UserError
from xpnet.frames import frame_to_tensor
from xpnet.paths import MODEL_REPOSITORY

UNBUILT = Checker(built=False)
SOURCES = ((str(CLIP),), ("/dev/video2",), ("rtsp://10.0.0.7/scope",), ("/dev/video0",) * 4,
           ("rtsp://10.0.0.7/scope",) * 8)  # fmt: skip
SINKS = ("screen", "masks.mp4", "masks.mkv", "rtsp:8600")


def test_example_files_are_up_to_date() -> None:
    expected: dict[str, str] = {}
    for deployment in EXAMPLES:
        for name, text in render(deployment, CONFIGS).items():
            assert expected.setdefault(name, text) == text, f"two deployments write another {name}"
    found = {path.name: path.read_text(encoding="utf-8") for path in CONFIGS.iterdir()}
    assert found == expected, (
        "run `xpnet deploy --examples --output deepstream/app_config/examples`"
    )


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*_*.txt")), ids=lambda path: path.name)
def test_every_example_passes_its_check(path: Path) -> None:
    assert UNBUILT.check(path).startswith(f"{path}: ")


@pytest.mark.parametrize("platform", ["rtx", "jetson"])
@pytest.mark.parametrize("triton", ["inprocess", "grpc", "none"])
@pytest.mark.parametrize("model", ["xpnet_lite", "xpnet"])
def test_every_deployment_passes_its_check(
    platform: str, triton: str, model: str, tmp_path: Path
) -> None:
    sinks = [*SINKS, "drm"] if platform == "jetson" else SINKS
    for sources, sink in itertools.product(SOURCES, sinks):
        deployment = Deployment(platform, sources, (sink,), triton, model)
        (path,) = write([deployment], tmp_path)
        line = UNBUILT.check(path)
        plural = "s" if len(sources) > 1 else ""
        assert f"{len(sources)} source{plural}; " in line
        assert model in line


KEY_FILES = sorted([*CONFIGS.glob("cart_*.txt"), *CONFIGS.glob("infer_*_none_*.txt")])


@pytest.mark.parametrize("path", KEY_FILES, ids=lambda path: path.name)
def test_glib_reads_every_key_as_nvidias_parser_does(path: Path) -> None:
    """GKeyFile is the parser of deepstream-app and nvinfer."""
    from gi.repository import GLib

    text = path.read_text(encoding="utf-8")
    key_file = GLib.KeyFile()
    assert key_file.load_from_file(str(path), GLib.KeyFileFlags.NONE)
    table = NVINFER if key_file.has_group("property") else APP
    groups = key_file.get_groups()[0]
    assert len(groups) == text.count("\n[")
    for group in groups:
        for key in key_file.get_keys(group)[0]:
            kind = table[str(group_name(group, table))][key]
            if kind == "int" or "|" in kind:
                assert key_file.get_integer(group, key) >= -1
            elif kind == "float":
                assert key_file.get_double(group, key) > 0
            elif kind == "ints":
                assert all(x > 0 for x in key_file.get_integer_list(group, key))
            else:
                assert key_file.get_string(group, key)


def test_a_model_of_another_size_and_threshold_reaches_every_file(tmp_path: Path) -> None:
    """The generator contains no fact about the model: with another card all files follow."""
    repository = tmp_path / "models"
    for name in ("xpnet_lite", "xpnet_lite_onnx"):
        card = read_card(MODEL_REPOSITORY / name / "card.json")
        folder = repository / name
        folder.mkdir(parents=True)
        text = card.at_size(320, 448).to_json()
        text = text.replace('"threshold": 0.5,\n  "licence"', '"threshold": 0.35,\n  "licence"')
        (folder / "card.json").write_text(
            text.replace('"frames",\n    "shape"', '"rgb",\n    "shape"')
        )
    for triton in ("inprocess", "grpc", "none"):
        deployment = Deployment("rtx", ("/dev/video0",), ("screen",), triton)
        app, infer, _ = render(deployment, tmp_path, repository).values()
        assert "[segvisual]\nbatch-size=1\nwidth=448\nheight=320\n" in app
        if triton == "none":
            assert "infer-dims=3;320;448\n" in infer
            assert "segmentation-threshold=0.35\n" in infer
        else:
            assert re.search(r"dims: 3\s+dims: 320\s+dims: 448\s", infer)
            assert 'tensor_name: "rgb"' in infer
            assert "threshold: 0.35\n" in infer


def test_live_sources_never_wait_and_a_clip_plays_at_its_own_rate() -> None:
    live = next(
        iter(render(Deployment("jetson", ("/dev/video0",), ("drm",), "none"), CONFIGS).values())
    )
    assert "live-source=1\nbatched-push-timeout=33333\n" in live
    assert "type=5\nsync=0\n" in live
    clip = next(
        iter(render(Deployment("rtx", (str(CLIP),), ("screen",), "none"), CONFIGS).values())
    )
    assert "live-source=0\n" in clip
    assert "type=2\nsync=1\n" in clip


@pytest.mark.parametrize(
    ("fps", "fraction", "timeout"),
    [(59.94, (60000, 1001), 16683), (25, (25, 1), 40000), (12.5, (25, 2), 80000)],
)
def test_camera_frame_rate_is_exact(fps: float, fraction: tuple[int, int], timeout: int) -> None:
    """A capture card that delivers 60000/1001 has no 60/1, and v4l2src would not start."""
    deployment = Deployment("rtx", ("/dev/video0",), ("screen",), "none", fps=fps)
    text = next(iter(render(deployment, CONFIGS).values()))
    assert "camera-fps-n={}\ncamera-fps-d={}\n".format(*fraction) in text
    assert f"batched-push-timeout={timeout}\n" in text


def test_a_source_of_another_shape_is_not_stretched() -> None:
    for deployment in EXAMPLES:
        assert "enable-padding=1\n" in next(iter(render(deployment, CONFIGS).values()))


@pytest.mark.parametrize(
    ("sources", "stops_at_any_error"),
    [
        (("/dev/video0",), False),
        (("/dev/video0", "/dev/video1"), True),
        (("rtsp://a/x", "rtsp://b/x"), False),
        (("rtsp://a/x", "/dev/video0"), False),
        (("/dev/video0", "rtsp://a/x"), True),
    ],
)
def test_deployment_that_one_source_can_stop_has_a_warning(
    sources: tuple[str, ...], stops_at_any_error: bool
) -> None:
    text = next(iter(render(Deployment("rtx", sources, ("screen",), "none"), CONFIGS).values()))
    assert (
        "# A source that fails ends deepstream-app, and with it all other" in text
    ) is stops_at_any_error


def test_probabilities_are_attached_on_request(tmp_path: Path) -> None:
    for wanted, end in ((False, ""), (True, "_probabilities")):
        deployment = Deployment(
            "rtx", ("/dev/video0",), ("screen",), "inprocess", probabilities=wanted
        )
        (path,) = write([deployment], tmp_path)
        assert UNBUILT.check(path)
        control = parse(
            (tmp_path / f"infer_rtx_inprocess_xpnet_lite_b1{end}.txt").read_text(), "infer"
        )
        assert control.output_control.output_tensor_meta is wanted
        assert control.infer_config.extra.output_buffer_pool_size == (32 if wanted else 4)
        assert control.infer_config.postprocess.HasField("segmentation")


def test_deployment_shares_cuda_buffers_on_the_same_pc_only(tmp_path: Path) -> None:
    shared = []
    for platform, url in (("rtx", "127.0.0.1:8001"), ("rtx", "10.0.0.9:8001"),
                          ("jetson", "127.0.0.1:8001")):  # fmt: skip
        deployment = Deployment(platform, ("/dev/video0",), ("screen",), "grpc", url=url)
        write([deployment], tmp_path)
        control = parse(
            (tmp_path / f"infer_{platform}_grpc_xpnet_lite_b1.txt").read_text(), "infer"
        )
        grpc = control.infer_config.backend.triton.grpc
        assert grpc.url == url
        shared.append(grpc.enable_cuda_buffer_sharing)
    assert shared == [True, False, False]


def test_bilinear_shrinking_would_change_masks(frames: list[np.ndarray]) -> None:
    """The reason for area averaging in both plugins: bilinear shrinking from HD skips pixels."""
    card = read_card(MODEL_REPOSITORY / "xpnet_lite_onnx" / "card.json")
    session = InferenceSession(str(MODEL_REPOSITORY / "xpnet_lite_onnx" / "1" / "model.onnx"))
    size = (card.input.width, card.input.height)

    def mask(frame: np.ndarray, interpolation: int) -> np.ndarray:
        small = cv2.resize(frame, size, interpolation=interpolation)
        tensor = frame_to_tensor(small, card.input.height, card.input.width)
        return session.run(None, {card.input.name: tensor})[0][0, 0] > card.threshold

    changed = {cv2.INTER_AREA: 0, cv2.INTER_LINEAR: 0}
    for frame in frames:
        own = mask(frame, cv2.INTER_AREA)
        large = cv2.resize(frame, (1920, 1080), interpolation=cv2.INTER_LINEAR)
        for interpolation in changed:
            changed[interpolation] += int((mask(large, interpolation) != own).sum())
    assert changed[cv2.INTER_AREA] < 0.7 * changed[cv2.INTER_LINEAR], changed


@pytest.mark.parametrize("address", ["rtsp://me:secret@h/x", "rtsp://h/x?user=a&password=secret"])
def test_file_with_a_password_is_readable_by_its_owner_only(
    address: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (path,) = write([Deployment("rtx", (address,), ("screen",), "none")], tmp_path)
    assert address in path.read_text()
    modes = {p.name: p.stat().st_mode & 0o777 for p in tmp_path.iterdir()}
    assert modes.pop(path.name) == 0o600
    assert 0o600 not in modes.values()
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == f"{path} holds a camera's password: readable for you alone"


def test_rtsp_output_warns_that_it_is_open() -> None:
    deployment = Deployment("rtx", ("/dev/video0",), ("rtsp",), "none")
    text = next(iter(render(deployment, CONFIGS).values()))
    assert "listens on every address and asks for no password" in text


@pytest.mark.parametrize(
    ("deployment", "expected"),
    [
        ({"sinks": ("drm",)}, "exists on a Jetson alone"),
        ({"sources": ("decklink:0",)}, "card needs a V4L2 driver"),
        ({"sources": ("/nowhere/clip.mp4",)}, "/nowhere/clip.mp4: no such file"),
        (
            {"sources": ("http://me:pw@x/y",)},
            "--source http://x/y: expected a file, /dev/videoN or rtsp://",
        ),
        ({"sources": ("/dev/video0",) * 9}, "9 sources, expected 1 to 8"),
        ({"sinks": ("masks.avi",)}, "expected screen, drm, rtsp[:PORT] or a file"),
        ({"sinks": ("rtsp:99999",)}, "port 99999, expected 1 to 65535"),
        ({"sinks": ()}, "no --sink"),
        ({"model": "xpnet_big"}, "no model 'xpnet_big' with a card, only: xpnet, xpnet_lite"),
        ({"triton": "grpc", "url": "server"}, "expected HOST:PORT"),
        ({"platform": "orin"}, "platform 'orin', expected rtx, jetson"),
        ({"triton": "http"}, "triton 'http', expected inprocess, grpc, none"),
        ({"width": 320, "height": 200}, "--size 320x200, expected 256x256 or more"),
        ({"triton": "none", "probabilities": True}, "--probabilities belongs to nvinferserver"),
        ({"fps": 0}, "fps 0, expected 1 to 240"),
        ({"fps": float("nan")}, "fps nan, expected 1 to 240"),
        ({"width": 63}, "width 63, expected 64 or more"),
    ],
)
def test_parts_that_exclude_each_other_are_refused(deployment: dict, expected: str) -> None:
    given = {"platform": "rtx", "sources": ("/dev/video0",), "sinks": ("screen",),
             "triton": "inprocess", **deployment}  # fmt: skip
    with pytest.raises(UserError, match=re.escape(expected)):
        render(Deployment(**given), CONFIGS)
