"""`xpnet deploy --check`: each error in a config gives one line that names it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deepstream.app_config.config_check import Checker
from deepstream.app_config.config_writer import write
from deepstream.app_config.deployment import Deployment
from deepstream.app_config.key_tables import APP, NVINFER
from deepstream.app_config.nvinferserver_schema import ENUMS, MESSAGES, parse, to_text
from tests.conftest import CLIP, one_line, put_plan
from xpnet.errors import UserError
from xpnet.paths import MODEL_REPOSITORY

UNBUILT = Checker(built=False)


def made(folder: Path, triton: str, source: str = str(CLIP)) -> tuple[Path, Path]:
    """Write a valid deployment of one source and its inference config."""
    (deployment,) = write([Deployment("rtx", (source,), ("screen",), triton)], folder)
    return deployment, folder / f"infer_rtx_{triton}_xpnet_lite_b1.txt"


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("batched-push", "batch-push", "unknown key 'batch-push-timeout' in [streammux]; nearest "
                                       "known: 'batched-push-timeout'"),
        ("[segvisual]", "[segvisuals]", "unknown group [segvisuals]; nearest known: 'segvisual'"),
        ("[source0]", "[camera0]", "unknown group [camera0]"),
        ("type=2\nenable", "type=11\nenable", "type=11 in [source0], expected one of 1, 2"),
        ("width=1920", "width=full", "width=full in [streammux], expected a whole number"),
        ("enable=1", "enable", "'enable', expected key=value"),
        ("file://", "file:///nowhere/", "no such file"),
        ("config-file=infer", "config-file=other", "other_rtx_none_xpnet_lite_b1.txt: no such"),
        ("plugin-type=0", "plugin-type=1", "is a config of nvinfer, plugin-type=0"),
        ("batch-size=1", "batch-size=2", "[streammux] batch-size=2, but 1 sources"),
        ("width=256", "width=512", "[segvisual] 256 x 512, the card's output is 256 x 256"),
        ("rows=1", "rows=0", "fewer tiles than 1 sources"),
        ("[streammux]", "[source1]\nenable=1\ntype=1\n\n[streammux]", "but 2 sources"),
        ("[primary-gie]\n", "[primary-gie]\nenable=0\n[tests]\n", "unknown key 'plugin-type'"),
    ],
)  # fmt: skip
def test_errors_in_an_app_config_are_reported(
    old: str, new: str, expected: str, tmp_path: Path
) -> None:
    deployment, _ = made(tmp_path, "none")
    UNBUILT.check(deployment)
    change(deployment, old, new)
    with pytest.raises(UserError, match=re.escape(expected)):
        UNBUILT.check(deployment)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("max_batch_size", "max_batchsize", "unknown field 'max_batchsize' in InferenceConfig; "
                                            "nearest known: 'max_batch_size'"),
        ("FORMAT_RGB", "FORMAT_RBG", "'IMAGE_FORMAT_RBG' is no MediaFormat; nearest known: "
                                     "'IMAGE_FORMAT_RGB'"),
        ("FORMAT_RGB", "FORMAT_BGR", "network_format IMAGE_FORMAT_BGR, the card says"),
        ("threshold: 0.5", 'threshold: "half"', "Couldn't parse float"),
        ("threshold: 0.5", "threshold: 0.4", "threshold 0.4, the card says 0.5"),
        ("classes: 1", "classes: 2", "classes 2, the card says 1"),
        ("0.003921569", "0.017", "scale 0.017, the card says 0.00392157"),
        ("dims: 256", "dims: 512", "input size 3 x 512 x 256, the card says 3 x 256 x 256"),
        ('name: "frames"', 'name: "images"', "input images, the card of xpnet_lite says frames"),
        ('name: "probab', 'name: "soft', "output softilities, the card of xpnet_lite says prob"),
        ("xpnet_lite", "xpnet_light", "model 'xpnet_light' has no card in"),
        ('root: "', 'root: "/nowhere', "no such folder"),
        ("labels.txt", "names.txt", "labelfile_path names.txt: no such file"),
        ("log_level: 1", 'model_control_mode: "poll"', "'poll', expected 'none' or 'explicit'"),
        ("IMAGE_FORMAT_RGB", "9", "network_format 9, expected MEDIA_FORMAT_NONE, IMAGE_FORMAT_RGB"),
        ("max_batch_size: 1", "max_batch_size: -1", "Value out of range: -1"),
        ("dims: 256", 'dims: "256"', "Couldn't parse integer"),
        ("scaling_filter: 3", "scaling_filter: 1", "frame_scaling_filter 1, expected 3: the net"),
        ("gpu_ids: 0", "gpu_ids: 0 gpu_ids: 1", "gpu_ids [0, 1], expected one"),
        ("TENSOR_ORDER_LINEAR", "TENSOR_ORDER_NHWC", "tensor_order TENSOR_ORDER_NHWC, the card"),
        ("max_batch_size: 1", "max_batch_size: 16", "batch 16, the plan's largest is 8"),
        ("model_repo {", 'grpc { url: "x" }\n model_repo {', 'another member of oneof "server"'),
    ],
)  # fmt: skip
def test_errors_in_an_nvinferserver_config_are_reported(
    old: str, new: str, expected: str, tmp_path: Path
) -> None:
    deployment, infer = made(tmp_path, "inprocess")
    UNBUILT.check(deployment)
    change(infer, old, new)
    with pytest.raises(UserError, match=re.escape(expected)):
        UNBUILT.check(deployment)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("scaling-filter", "scale-filter", "unknown key 'scale-filter' in [property]; nearest "
                                           "known: 'scaling-filter'"),
        ("infer-dims=3;256", "infer-dims=3;512", "input size 3 x 512 x 256, the card says"),
        ("infer-dims=3;256", "infer-dims=three;256", "expected whole numbers with ; between"),
        ("network-type=2", "network-type=0", "network-type 0, expected 2, segmentation"),
        ("net-scale-factor=0", "net-scale-factor=1", "scale 1.00392, the card says 0.00392157"),
        ("threshold=0.5", "threshold=0.7", "threshold 0.7, the card says 0.5"),
        ("network-mode=2", "network-mode=fp16", "expected one of 0, 1, 2, 3"),
        ("model-color-format=0", "model-color-format=1", "model-color-format 1, the card says 0"),
        ("scaling-filter=3", "scaling-filter=1", "scaling-filter 1, expected 3: the network was"),
        ("onnx-file=", "onnx-file=/nowhere", "no such file"),
    ],
)  # fmt: skip
def test_errors_in_an_nvinfer_config_are_reported(
    old: str, new: str, expected: str, tmp_path: Path
) -> None:
    deployment, infer = made(tmp_path, "none")
    change(infer, old, new)
    with pytest.raises(UserError, match=re.escape(expected)):
        UNBUILT.check(deployment)


def test_keys_and_groups_may_be_numbered_where_the_parser_counts(tmp_path: Path) -> None:
    deployment, _ = made(tmp_path, "none")
    change(deployment, "[osd]", "bbox-border-color12=1;0;0;1\n\n[osd]")
    with pytest.raises(UserError, match=re.escape("unknown key 'bbox-border-color12' in [tiled")):
        UNBUILT.check(deployment)
    change(deployment, "bbox-border-color12=1;0;0;1\n", "")
    change(deployment, "[primary-gie]", "[primary-gie]\nbbox-border-color12=1;0;0;1")
    change(deployment, "[sink0]", "[sink7]")
    assert UNBUILT.check(deployment)


def test_source_of_several_files_counts_as_several(tmp_path: Path) -> None:
    (deployment,) = write([Deployment("rtx", (str(CLIP),) * 2, ("screen",), "none")], tmp_path)
    text = deployment.read_text()
    first, second = text.index("[source0]"), text.index("[streammux]")
    several = f"[source0]\nenable=1\ntype=3\nnum-sources=2\nuri=file://{tmp_path}/%d.mp4\n\n"
    deployment.write_text(text[:first] + several + text[second:])
    with pytest.raises(UserError, match=re.escape("0.mp4: no such file")):
        UNBUILT.check(deployment)
    (tmp_path / "0.mp4").touch()
    assert "2 sources" in UNBUILT.check(deployment)


def test_live_sources_with_a_sink_that_waits(tmp_path: Path) -> None:
    deployment, _ = made(tmp_path, "grpc", "/dev/video0")
    change(deployment, "sync=0", "sync=1")
    with pytest.raises(UserError, match=re.escape("but [sink0] has sync=1")):
        UNBUILT.check(deployment)
    change(deployment, "sync=1", "sync=0")
    change(deployment, "live-source=1", "live-source=0")
    with pytest.raises(UserError, match="no live-source=1"):
        UNBUILT.check(deployment)


@pytest.mark.parametrize("triton", ["inprocess", "none"])
def test_missing_plan_gives_the_build_command(
    triton: str, tmp_path: Path
) -> None:  # fmt: skip
    repository = tmp_path / "models"
    for name in ("xpnet_lite", "xpnet_lite_onnx"):
        shutil.copytree(MODEL_REPOSITORY / name, repository / name, dirs_exist_ok=True)
    plan = repository / "xpnet_lite" / "1" / "model.plan"
    plan.parent.mkdir(exist_ok=True)
    plan.unlink(missing_ok=True)
    (deployment,) = write(
        [Deployment("rtx", (str(CLIP),), ("screen",), triton)], tmp_path, repository
    )
    with pytest.raises(UserError, match="no TensorRT plan yet") as error:
        Checker(repository).check(deployment)
    assert "xpnet build --target rtx|jetson --model xpnet_lite" in str(error.value)
    change(deployment, "[osd]", "[osb]")  # an error in the file is reported first
    with pytest.raises(UserError, match=re.escape("unknown group [osb]")):
        Checker(repository).check(deployment)
    change(deployment, "[osb]", "[osd]")
    plan.write_bytes(b"a plan of somebody")
    with pytest.raises(UserError, match=r"card\.json beside it does not match this file"):
        Checker(repository).check(deployment)
    put_plan(plan.parents[1])
    assert "xpnet_lite at 256 x 256, batch 1" in Checker(repository).check(deployment)


def leaves(message: str) -> Iterator[tuple[set[str], str]]:
    """Yield protobuf text for each single field of a message, with the fields on its path."""
    for word in MESSAGES[message].split():
        name, kind = word.split(":")
        kind = kind.partition("@")[0].rstrip("*")
        here, key = f"{message}.{name}", ""
        if kind.startswith("map<"):
            kind, key = kind[4:-1].split(",")[1], "key: 1 value "
        if kind in MESSAGES:
            for fields, text in leaves(kind):
                inner = f"{name} {{ {key}{{ {text} }} }}" if key else f"{name} {{ {text} }}"
                yield {here, *fields}, inner
        elif kind in ENUMS:
            for value in ENUMS[kind].split():
                yield {here}, f"{name}: {value}"
        else:
            value = {"string": '"x"', "bool": "true", "float": "0.5"}.get(kind, "1")
            yield {here}, f"{name}: {value}"


def test_every_field_of_the_schema_can_be_written_and_read() -> None:
    seen: set[str] = set()
    for fields, text in leaves("PluginControl"):
        control = parse(text, text)
        assert parse(to_text(control), "again") == control
        seen |= fields
    every = {f"{m}.{w.split(':')[0]}" for m, words in MESSAGES.items() for w in words.split()}
    assert seen == every


def test_no_kind_of_the_tables_is_a_typing_mistake() -> None:
    words = {"int", "float", "bool", "str", "ints", "floats", "strs", "path", "out", "uri"}
    for table in (APP, NVINFER):
        for group, keys in table.items():
            for key, kind in keys.items():
                assert kind in words or re.fullmatch(r"\d+(\|\d+)+", kind), (group, key, kind)


def test_the_command_line(
    xpnet: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    given = ("--platform", "rtx", "--source", CLIP, "--sink", "screen", "--output", tmp_path)
    result = xpnet("deploy", *given, "--triton", "grpc")
    assert result.returncode == 0, result.stderr
    deployment = tmp_path / "cart_rtx_file_screen_grpc.txt"
    assert result.stdout == f"deepstream-app -c {deployment}\n"
    assert xpnet("deploy", "--check", deployment).returncode == 0
    change(deployment, "batch-size", "batchsize")
    assert "nearest known: 'batch-size'" in one_line(xpnet("deploy", "--check", deployment))
    assert "--url belongs to" in one_line(xpnet("deploy", *given, "--triton", "none", "--url", "x"))
    assert "--size 10" in one_line(xpnet("deploy", *given, "--triton", "none", "--size", "10"))
    assert "deploy needs --triton" in one_line(xpnet("deploy", *given))
    assert "no such file" in one_line(xpnet("deploy", "--check", tmp_path / "none.txt"))
