"""The files of `xpnet deploy`: generated from the card, equal to the examples, parsed by GLib."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from onnxruntime import InferenceSession

from deepstream.app_config.app_file import (
    MASK_ONLY_WARNING,
    OPEN_RTSP_WARNING,
    SLOW_ENCODER_WARNING,
    STOPS_WARNING,
)
from deepstream.app_config.config_check import ConfigChecker
from deepstream.app_config.config_writer import (
    EXAMPLES_DIR,
    generate_files,
    write_deployments,
)
from deepstream.app_config.deployment import EXAMPLES, Deployment
from deepstream.app_config.key_files import find_group
from deepstream.app_config.key_tables import DEEPSTREAM_APP_KEYS, NVINFER_KEYS
from deepstream.app_config.nvinferserver_schema import parse
from tests.conftest import CLIP
from xpnet.card import read_card
from xpnet.errors import UserError
from xpnet.frames import frame_to_tensor
from xpnet.paths import MODEL_REPOSITORY

CHECKER = ConfigChecker(require_plan=False)
SOURCES = ((str(CLIP),), ("/dev/video2",), ("rtsp://10.0.0.7/scope",), ("/dev/video0",) * 4,
           ("rtsp://10.0.0.7/scope",) * 8)  # fmt: skip
SINKS = ("screen", "masks.mp4", "masks.mkv", "rtsp:8600")


def app_file(deployment: Deployment) -> str:
    """Return the text of deepstream-app's file."""
    return generate_files(deployment, EXAMPLES_DIR)[deployment.app_file_name]


def test_example_files_are_up_to_date() -> None:
    expected: dict[str, str] = {}
    for deployment in EXAMPLES:
        for name, text in generate_files(deployment, EXAMPLES_DIR).items():
            assert expected.setdefault(name, text) == text, (
                f"two deployments generate different {name}"
            )
    found = {path.name: path.read_text(encoding="utf-8") for path in EXAMPLES_DIR.iterdir()}
    assert found == expected, (
        "run `xpnet deploy --examples --output deepstream/app_config/examples`"
    )


@pytest.mark.parametrize("path", sorted(EXAMPLES_DIR.glob("*_*.txt")), ids=lambda path: path.name)
def test_every_example_passes_its_check(path: Path) -> None:
    assert CHECKER.check(path).startswith(f"{path}: ")


@pytest.mark.parametrize("platform", ["rtx", "jetson"])
@pytest.mark.parametrize("triton", ["inprocess", "grpc", "none"])
@pytest.mark.parametrize("model", ["xpnet_lite", "xpnet"])
def test_every_deployment_passes_its_check(
    platform: str, triton: str, model: str, tmp_path: Path
) -> None:
    sinks = [*SINKS, "drm"] if platform == "jetson" else SINKS
    for sources, sink in itertools.product(SOURCES, sinks):
        deployment = Deployment(platform, sources, (sink,), triton, model)
        (path,) = write_deployments([deployment], tmp_path)
        line = CHECKER.check(path)
        plural = "s" if len(sources) > 1 else ""
        assert f"{len(sources)} source{plural}; " in line
        assert model in line


KEY_FILES = sorted([*EXAMPLES_DIR.glob("cart_*.txt"), *EXAMPLES_DIR.glob("infer_*_none_*.txt")])


@pytest.mark.parametrize("path", KEY_FILES, ids=lambda path: path.name)
def test_glib_parses_every_key_as_its_type(path: Path) -> None:
    """GKeyFile is the parser of deepstream-app and nvinfer."""
    from gi.repository import GLib

    text = path.read_text(encoding="utf-8")
    key_file = GLib.KeyFile()
    assert key_file.load_from_file(str(path), GLib.KeyFileFlags.NONE)
    table = NVINFER_KEYS if key_file.has_group("property") else DEEPSTREAM_APP_KEYS
    groups = key_file.get_groups()[0]
    assert len(groups) == text.count("\n[")
    for group in groups:
        for key in key_file.get_keys(group)[0]:
            value_type = table[str(find_group(group, table))][key]
            if value_type == "int" or "|" in value_type:
                assert key_file.get_integer(group, key) >= -1
            elif value_type == "float":
                assert key_file.get_double(group, key) > 0
            elif value_type == "ints":
                assert all(x > 0 for x in key_file.get_integer_list(group, key))
            else:
                assert key_file.get_string(group, key)


def test_size_threshold_and_tensor_name_of_the_card_are_in_every_config(tmp_path: Path) -> None:
    """The generator contains nothing about the model: all values are from the card."""
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
        app, infer, _ = generate_files(deployment, tmp_path, repository).values()
        assert "[segvisual]\nbatch-size=1\nwidth=448\nheight=320\n" in app
        if triton == "none":
            assert "infer-dims=3;320;448\n" in infer
            assert "segmentation-threshold=0.35\n" in infer
        else:
            assert re.search(r"dims: 3\s+dims: 320\s+dims: 448\s", infer)
            assert 'tensor_name: "rgb"' in infer
            assert "threshold: 0.35\n" in infer


def test_every_file_says_that_deepstream_app_does_not_show_the_frame() -> None:
    """nvsegvisual needs `original-background` for the frame, and `[segvisual]` has no such key."""
    assert "original-background" not in DEEPSTREAM_APP_KEYS["segvisual"]
    for deployment in EXAMPLES:
        assert f"# {MASK_ONLY_WARNING}\n" in app_file(deployment)


def test_live_sources_run_without_sync_and_a_clip_with_sync() -> None:
    live = app_file(Deployment("jetson", ("/dev/video0",), ("drm",), "none"))
    assert "live-source=1\nbatched-push-timeout=33333\n" in live
    assert "type=5\nsync=0\n" in live
    clip = app_file(Deployment("rtx", (str(CLIP),), ("screen",), "none"))
    assert "live-source=0\n" in clip
    assert "type=2\nsync=1\n" in clip


@pytest.mark.parametrize(
    ("fps", "fraction", "timeout"),
    [(59.94, (60000, 1001), 16683), (25, (25, 1), 40000), (12.5, (25, 2), 80000)],
)
def test_camera_frame_rate_is_exact(fps: float, fraction: tuple[int, int], timeout: int) -> None:
    """A capture card that delivers 60000/1001 does not offer 60/1, and v4l2src would not start."""
    deployment = Deployment("rtx", ("/dev/video0",), ("screen",), "none", fps=fps)
    text = app_file(deployment)
    assert "camera-fps-n={}\ncamera-fps-d={}\n".format(*fraction) in text
    assert f"batched-push-timeout={timeout}\n" in text


def test_source_of_another_shape_gets_borders() -> None:
    for deployment in EXAMPLES:
        assert "enable-padding=1\n" in app_file(deployment)


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
def test_file_warns_if_one_failing_source_stops_the_others(
    sources: tuple[str, ...], stops_at_any_error: bool
) -> None:
    text = app_file(Deployment("rtx", sources, ("screen",), "none"))
    assert (f"# {STOPS_WARNING}\n" in text) is stops_at_any_error


def test_probabilities_are_attached_on_request(tmp_path: Path) -> None:
    for wanted in (False, True):
        deployment = Deployment(
            "rtx", ("/dev/video0",), ("screen",), "inprocess", probabilities=wanted
        )
        (path,) = write_deployments([deployment], tmp_path)
        assert CHECKER.check(path)
        control = parse((tmp_path / deployment.infer_file_name).read_text(), "infer")
        assert control.output_control.output_tensor_meta is wanted
        assert control.infer_config.extra.output_buffer_pool_size == (32 if wanted else 4)
        assert control.infer_config.postprocess.HasField("segmentation")


def test_cuda_buffers_are_shared_on_the_same_pc_only(tmp_path: Path) -> None:
    shared = []
    for platform, url in (("rtx", "127.0.0.1:8001"), ("rtx", "10.0.0.9:8001"),
                          ("jetson", "127.0.0.1:8001")):  # fmt: skip
        deployment = Deployment(platform, ("/dev/video0",), ("screen",), "grpc", url=url)
        write_deployments([deployment], tmp_path)
        control = parse((tmp_path / deployment.infer_file_name).read_text(), "infer")
        grpc = control.infer_config.backend.triton.grpc
        assert grpc.url == url
        shared.append(grpc.enable_cuda_buffer_sharing)
    assert shared == [True, False, False]


def test_area_averaging_changes_masks_less_than_bilinear_shrinking(
    frames: list[np.ndarray],
) -> None:
    """Reason for super-sampling in both plugins: bilinear shrinking from HD skips pixels."""
    card = read_card(MODEL_REPOSITORY / "xpnet_lite_onnx" / "card.json")
    session = InferenceSession(str(MODEL_REPOSITORY / "xpnet_lite_onnx" / "1" / "model.onnx"))
    size = (card.input.width, card.input.height)

    def mask(frame: np.ndarray, interpolation: int) -> np.ndarray:
        small = cv2.resize(frame, size, interpolation=interpolation)
        tensor = frame_to_tensor(small, card.input.height, card.input.width)
        return session.run(None, {card.input.name: tensor})[0][0, 0] > card.threshold

    changed = {cv2.INTER_AREA: 0, cv2.INTER_LINEAR: 0}
    for frame in frames:
        expected = mask(frame, cv2.INTER_AREA)
        large = cv2.resize(frame, (1920, 1080), interpolation=cv2.INTER_LINEAR)
        for interpolation in changed:
            changed[interpolation] += int((mask(large, interpolation) != expected).sum())
    assert changed[cv2.INTER_AREA] < 0.7 * changed[cv2.INTER_LINEAR], changed


def test_file_names_list_the_options() -> None:
    sources = ("/dev/video0", "/dev/video1", "rtsp://h/x")
    deployment = Deployment(
        "rtx", sources, ("screen", "a.mkv"), "grpc", model="xpnet", probabilities=True
    )
    expected = "cart_rtx_2xv4l2-rtsp_screen-file_grpc_xpnet_probabilities.txt"
    assert deployment.app_file_name == expected
    assert deployment.infer_file_name == "infer_rtx_grpc_xpnet_b3_probabilities.txt"


@pytest.mark.parametrize("address", ["rtsp://me:secret@h/x", "rtsp://h/x?user=a&password=secret"])
def test_file_with_a_password_is_readable_by_its_owner_only(
    address: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (path,) = write_deployments([Deployment("rtx", (address,), ("screen",), "none")], tmp_path)
    assert address in path.read_text()
    modes = {p.name: p.stat().st_mode & 0o777 for p in tmp_path.iterdir()}
    assert modes.pop(path.name) == 0o600
    assert 0o600 not in modes.values()
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == f"{path} contains a camera's password: only you can read the file"


@pytest.mark.parametrize("name", ["50%.mp4", "a #1.mp4", "a\\b.mp4", "polyp 2?.mp4", "é.mp4"])
def test_uri_of_any_file_name_is_the_one_that_gstreamer_decodes(name: str, tmp_path: Path) -> None:
    from gi.repository import GLib

    clip = tmp_path / name
    clip.touch()
    (path,) = write_deployments([Deployment("rtx", (str(clip),), ("screen",), "none")], tmp_path)
    assert CHECKER.check(path)
    key_file = GLib.KeyFile()
    assert key_file.load_from_file(str(path), GLib.KeyFileFlags.NONE)
    found, _host = GLib.filename_from_uri(key_file.get_string("source0", "uri"))
    assert found == str(clip)


def test_backslashes_are_escaped_as_glib_reads_them(tmp_path: Path) -> None:
    """Unescaped, the password would be another one, or deepstream-app would not start."""
    from gi.repository import GLib

    address = r"rtsp://me:pa\ss\d@h/x"
    (path,) = write_deployments([Deployment("rtx", (address,), ("screen",), "none")], tmp_path)
    key_file = GLib.KeyFile()
    assert key_file.load_from_file(str(path), GLib.KeyFileFlags.NONE)
    assert key_file.get_string("source0", "uri") == address
    assert CHECKER.check(path)
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text(path.read_text().replace(r"\\d", r"\d"))
    with pytest.raises(UserError, match=r"'\\d' in a value"):
        CHECKER.check(path)


def test_file_warns_that_rtsp_output_has_no_password() -> None:
    deployment = Deployment("rtx", ("/dev/video0",), ("rtsp",), "none")
    text = app_file(deployment)
    assert f"# {OPEN_RTSP_WARNING}\n" in text


SINK_KEYS = {
    "screen": {"width", "height"},
    "drm": set(),
    "rtsp": {"codec", "enc-type", "bitrate", "rtsp-port", "udp-port"},
    "a.mkv": {"codec", "enc-type", "bitrate", "container", "output-file"},
}
"""What create_render_bin, create_udpsink_bin and create_encode_file_bin of deepstream_sink_bin.c
read in any case, besides `enable`, `type` and `sync`."""


@pytest.mark.parametrize("software", [False, True], ids=["hardware", "software"])
@pytest.mark.parametrize("sink", SINK_KEYS)
def test_sink_has_the_keys_that_deepstream_app_reads_for_its_type(
    sink: str, software: bool
) -> None:
    expected = {"enable", "type", "sync", *SINK_KEYS[sink]}
    if not software:
        expected |= {"profile", "iframeinterval"} if "codec" in expected else set()
    elif sink == "a.mkv":
        expected.add("sw-preset")
    deployment = Deployment("jetson", ("/dev/video0",), (sink,), "none", software_encoder=software)
    text = app_file(deployment)
    found = re.findall(r"^([\w-]+)=", text[text.index("[sink0]") :], re.MULTILINE)
    assert set(found) == expected
    assert (f"# {SLOW_ENCODER_WARNING}\n" in text) is (sink == "rtsp" and software)


@pytest.mark.parametrize(
    ("deployment", "expected"),
    [
        ({"sinks": ("drm",)}, "exists on a Jetson only"),
        ({"sources": ("decklink:0",)}, "an SDI card needs a V4L2 driver"),
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
        ({"triton": "none", "probabilities": True}, "--probabilities requires nvinferserver"),
        ({"fps": 0}, "fps 0, expected 1 to 240"),
        ({"fps": float("nan")}, "fps nan, expected 1 to 240"),
        ({"width": 63}, "width 63, expected 64 or more"),
    ],
)
def test_wrong_options_are_refused(deployment: dict, expected: str) -> None:
    options = {"platform": "rtx", "sources": ("/dev/video0",), "sinks": ("screen",),
             "triton": "inprocess", **deployment}  # fmt: skip
    with pytest.raises(UserError, match=re.escape(expected)):
        generate_files(Deployment(**options), EXAMPLES_DIR)
