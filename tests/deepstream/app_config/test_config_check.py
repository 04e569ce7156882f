"""`xpnet deploy --check`: each error in a config gives one line that says what was expected."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deepstream.app_config.config_check import ConfigChecker
from deepstream.app_config.config_writer import write_deployments
from deepstream.app_config.deployment import Deployment
from deepstream.app_config.key_tables import DEEPSTREAM_APP_KEYS, NVINFER_KEYS
from deepstream.app_config.nvinferserver_schema import (
    ENUMS,
    MESSAGES,
    field_names,
    message_fields,
    parse,
    to_text,
)
from tests.conftest import CLIP, one_line, put_plan
from xpnet.errors import UserError
from xpnet.paths import MODEL_REPOSITORY

CHECKER = ConfigChecker(require_plan=False)


def write_valid(folder: Path, triton: str, source: str = str(CLIP)) -> tuple[Path, Path]:
    """Write a valid deployment of one source; return deepstream-app's file and inference config."""
    deployment = Deployment("rtx", (source,), ("screen",), triton)
    (app_file,) = write_deployments([deployment], folder)
    return app_file, folder / deployment.infer_file_name


def replace_text(path: Path, old: str, new: str) -> None:
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
        ("plugin-type=0", "plugin-type=1", "plugin-type=1, expected 0: infer_rtx_none"),
        ("batch-size=1", "batch-size=2", "[streammux] batch-size=2, expected 1, the number of"),
        ("width=256", "width=512", "[segvisual] size 256 x 512, expected 256 x 256 as in"),
        ("rows=1", "rows=0", "[tiled-display] has 0 tiles, expected 1 or more"),
        ("[streammux]", "[source1]\nenable=1\ntype=1\n\n[streammux]", "batch-size=1, expected 2"),
        ("[primary-gie]\n", "[primary-gie]\nenable=0\n[tests]\n", "unknown key 'plugin-type'"),
        ("type=2\nenable", "type=9\nenable", "type=9 in [source0], expected one of 1, 2"),
        ("type=2\nenable=1", "type=2", "no enabled group [source0], expected one with enable=1"),
        ("sync=1\nenable=1", "sync=1", "no enabled group [sink0], expected one with enable=1"),
        ("gie-unique-id=1\nenable=1", "gie-unique-id=1", "no enabled group [primary-gie]"),
        ("[source0]\ntype=2\nenable=1\nuri", "[source-list]\nlist",
         "[source-list] needs a group [source-attr-all]"),
    ],
)  # fmt: skip
def test_errors_in_an_app_config_are_reported(
    old: str, new: str, expected: str, tmp_path: Path
) -> None:
    app_file, _ = write_valid(tmp_path, "none")
    CHECKER.check(app_file)
    replace_text(app_file, old, new)
    with pytest.raises(UserError, match=re.escape(expected)):
        CHECKER.check(app_file)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("max_batch_size", "max_batchsize", "unknown field 'max_batchsize' in InferenceConfig; "
                                            "nearest known: 'max_batch_size'"),
        ("FORMAT_RGB", "FORMAT_RBG", "'IMAGE_FORMAT_RBG' is not a MediaFormat; nearest known: "
                                     "'IMAGE_FORMAT_RGB'"),
        ("FORMAT_RGB", "FORMAT_BGR", "network_format IMAGE_FORMAT_BGR, expected IMAGE_FORMAT_RGB"),
        ("threshold: 0.5", 'threshold: "half"', "Couldn't parse float"),
        ("threshold: 0.5", "threshold: 0.4", "threshold 0.4, expected 0.5 as in the card of"),
        ("classes: 1", "classes: 2", "classes 2, expected 1"),
        ("0.003921569", "0.017", "scale 0.017, expected 0.00392157"),
        ("dims: 256", "dims: 512", "input size 3 x 512 x 256, expected 3 x 256 x 256"),
        ('name: "frames"', 'name: "images"', "input images, expected frames as in the card"),
        ('name: "probab', 'name: "soft', "output softilities, expected probabilities"),
        ("xpnet_lite", "xpnet_light", "model 'xpnet_light' has no card in"),
        ('root: "', 'root: "/nowhere', "no such folder"),
        ("labels.txt", "names.txt", "labelfile_path names.txt: no such file"),
        ("log_level: 1", 'model_control_mode: "poll"', "'poll', expected 'none' or 'explicit'"),
        ("IMAGE_FORMAT_RGB", "9", "network_format 9, expected MEDIA_FORMAT_NONE, IMAGE_FORMAT_RGB"),
        ("max_batch_size: 1", "max_batch_size: -1", "Value out of range: -1"),
        ("dims: 256", 'dims: "256"', "Couldn't parse integer"),
        ("scaling_filter: 3", "scaling_filter: 1", "frame_scaling_filter 1, expected 3: the net"),
        ("gpu_ids: 0", "gpu_ids: 0 gpu_ids: 1", "gpu_ids [0, 1], expected one"),
        ("TENSOR_ORDER_LINEAR", "TENSOR_ORDER_NHWC", "tensor_order TENSOR_ORDER_NHWC, expected"),
        ("max_batch_size: 1", "max_batch_size: 16", "batch 16, expected at most 8 as in the plan"),
        ("model_repo {", 'grpc { url: "x" }\n model_repo {', 'another member of oneof "server"'),
    ],
)  # fmt: skip
def test_errors_in_an_nvinferserver_config_are_reported(
    old: str, new: str, expected: str, tmp_path: Path
) -> None:
    app_file, infer = write_valid(tmp_path, "inprocess")
    CHECKER.check(app_file)
    replace_text(infer, old, new)
    with pytest.raises(UserError, match=re.escape(expected)):
        CHECKER.check(app_file)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("scaling-filter", "scale-filter", "unknown key 'scale-filter' in [property]; nearest "
                                           "known: 'scaling-filter'"),
        ("infer-dims=3;256", "infer-dims=3;512", "input size 3 x 512 x 256, expected 3 x 256"),
        ("infer-dims=3;256", "infer-dims=three;256", "expected whole numbers separated by ;"),
        ("network-type=2", "network-type=0", "network-type 0, expected 2, segmentation"),
        ("net-scale-factor=0", "net-scale-factor=1", "scale 1.00392, expected 0.00392157"),
        ("threshold=0.5", "threshold=0.7", "threshold 0.7, expected 0.5"),
        ("network-mode=2", "network-mode=fp16", "expected one of 0, 1, 2, 3"),
        ("model-color-format=0", "model-color-format=1", "model-color-format 1, expected 0"),
        ("scaling-filter=3", "scaling-filter=1", "scaling-filter 1, expected 3: the network was"),
        ("onnx-file=", "onnx-file=/nowhere", "no such file"),
        ("network-mode=2", "is-classifier=0", "unknown key 'is-classifier' in [property]"),
        ("network-mode=2", "parse-func=0", "unknown key 'parse-func' in [property]"),
        ("network-mode=2", "network-input-order=2", "expected one of 0, 1"),
    ],
)  # fmt: skip
def test_errors_in_an_nvinfer_config_are_reported(
    old: str, new: str, expected: str, tmp_path: Path
) -> None:
    app_file, infer = write_valid(tmp_path, "none")
    replace_text(infer, old, new)
    with pytest.raises(UserError, match=re.escape(expected)):
        CHECKER.check(app_file)


def test_numbers_in_keys_and_groups_are_accepted_where_the_table_has_n(tmp_path: Path) -> None:
    app_file, _ = write_valid(tmp_path, "none")
    replace_text(app_file, "[osd]", "bbox-border-color12=1;0;0;1\n\n[osd]")
    with pytest.raises(UserError, match=re.escape("unknown key 'bbox-border-color12' in [tiled")):
        CHECKER.check(app_file)
    replace_text(app_file, "bbox-border-color12=1;0;0;1\n", "")
    replace_text(app_file, "[primary-gie]", "[primary-gie]\nbbox-border-color12=1;0;0;1")
    replace_text(app_file, "[sink0]", "[sink7]")
    assert CHECKER.check(app_file)


def test_source_with_several_files_counts_as_several_sources(tmp_path: Path) -> None:
    deployment = Deployment("rtx", (str(CLIP),) * 2, ("screen",), "none")
    (app_file,) = write_deployments([deployment], tmp_path)
    text = app_file.read_text()
    first, second = text.index("[source0]"), text.index("[streammux]")
    several = f"[source0]\nenable=1\ntype=3\nnum-sources=2\nuri=file://{tmp_path}/%d.mp4\n\n"
    app_file.write_text(text[:first] + several + text[second:])
    with pytest.raises(UserError, match=re.escape("0.mp4: no such file")):
        CHECKER.check(app_file)
    (tmp_path / "0.mp4").touch()
    assert "2 sources" in CHECKER.check(app_file)


def test_live_sources_need_a_muxer_and_sinks_that_do_not_wait(tmp_path: Path) -> None:
    app_file, _ = write_valid(tmp_path, "grpc", "/dev/video0")
    replace_text(app_file, "sync=0", "sync=1")
    with pytest.raises(UserError, match=re.escape("[sink0] sync=1, expected 0 for live sources")):
        CHECKER.check(app_file)
    replace_text(app_file, "sync=1", "sync=0")
    replace_text(app_file, "live-source=1", "live-source=0")
    with pytest.raises(UserError, match="live-source=0, expected 1 for live sources"):
        CHECKER.check(app_file)


@pytest.mark.parametrize("triton", ["inprocess", "none"])
def test_missing_plan_gives_the_build_command(triton: str, tmp_path: Path) -> None:
    repository = tmp_path / "models"
    for name in ("xpnet_lite", "xpnet_lite_onnx"):
        shutil.copytree(MODEL_REPOSITORY / name, repository / name, dirs_exist_ok=True)
    plan = repository / "xpnet_lite" / "1" / "model.plan"
    plan.parent.mkdir(exist_ok=True)
    plan.unlink(missing_ok=True)
    (app_file,) = write_deployments(
        [Deployment("rtx", (str(CLIP),), ("screen",), triton)], tmp_path, repository
    )
    with pytest.raises(UserError, match="no TensorRT plan yet") as error:
        ConfigChecker(repository).check(app_file)
    assert "xpnet build --target rtx|jetson --model xpnet_lite" in str(error.value)
    replace_text(app_file, "[osd]", "[osb]")  # an error in the file is reported first
    with pytest.raises(UserError, match=re.escape("unknown group [osb]")):
        ConfigChecker(repository).check(app_file)
    replace_text(app_file, "[osb]", "[osd]")
    plan.write_bytes(b"a plan of another model")
    with pytest.raises(UserError, match=r"card\.json beside it does not match this file"):
        ConfigChecker(repository).check(app_file)
    put_plan(plan.parents[1])
    assert "xpnet_lite at 256 x 256, batch 1" in ConfigChecker(repository).check(app_file)


def single_fields(message: str) -> Iterator[tuple[set[str], str]]:
    """Yield protobuf text for each single field of a message, with the fields on its path."""
    for field in message_fields(message):
        name, kind = field.name, field.type_name
        here, key = f"{message}.{name}", ""
        if kind.startswith("map<"):
            kind, key = kind[4:-1].split(",")[1], "key: 1 value "
        if kind in MESSAGES:
            for fields, text in single_fields(kind):
                inner = f"{name} {{ {key}{{ {text} }} }}" if key else f"{name} {{ {text} }}"
                yield {here, *fields}, inner
        elif kind in ENUMS:
            for value in ENUMS[kind].split():
                yield {here}, f"{name}: {value}"
        else:
            value = {"string": '"x"', "bool": "true", "float": "0.5"}.get(kind, "1")
            yield {here}, f"{name}: {value}"


def test_plan_of_a_dla_core_is_loaded_for_that_core(tmp_path: Path) -> None:
    """Without the keys nvinfer loads the plan of core 1 for core 0."""
    repository = tmp_path / "models"
    for name in ("xpnet_lite", "xpnet_lite_onnx"):
        shutil.copytree(MODEL_REPOSITORY / name, repository / name)
    deployment = Deployment("jetson", (str(CLIP),), ("a.mkv",), "none")
    (app_file,) = write_deployments([deployment], tmp_path, repository)
    assert "-dla" not in (tmp_path / deployment.infer_file_name).read_text()
    plan = put_plan(repository / "xpnet_lite")
    card_file = plan.with_name("card.json")
    card = json.loads(card_file.read_text())
    card["graph"]["dla"] = 1
    card_file.write_text(json.dumps(card))
    with pytest.raises(UserError, match="DLA core none, expected 1, for which the plan was built"):
        CHECKER.check(app_file)
    write_deployments([deployment], tmp_path, repository)
    assert "enable-dla=1\nuse-dla-core=1\n" in (tmp_path / deployment.infer_file_name).read_text()
    assert CHECKER.check(app_file)


@pytest.mark.parametrize("triton", ["inprocess", "none"])
def test_paths_are_relative_to_the_file_that_a_link_leads_to(triton: str, tmp_path: Path) -> None:
    app_file, infer = write_valid(tmp_path / "real", triton)
    link = tmp_path / "cart.txt"
    link.symlink_to(app_file)
    assert CHECKER.check(link)
    infer_link = tmp_path / "infer.txt"
    infer_link.symlink_to(infer)
    if triton == "none":
        assert CHECKER.check(infer_link)
    else:  # nvinferserver looks beside the link
        with pytest.raises(UserError, match=re.escape("labelfile_path labels.txt: no such file")):
            CHECKER.check(infer_link)


def test_every_field_of_the_schema_can_be_written_and_parsed() -> None:
    seen: set[str] = set()
    for fields, text in single_fields("PluginControl"):
        control = parse(text, text)
        assert parse(to_text(control), "again") == control
        seen |= fields
    every = {f"{message}.{name}" for message in MESSAGES for name in field_names(message)}
    assert seen == every


def test_every_value_type_in_the_tables_is_known() -> None:
    known = {"int", "float", "bool", "str", "ints", "floats", "strs", "path", "out", "uri"}
    for table in (DEEPSTREAM_APP_KEYS, NVINFER_KEYS):
        for group, keys in table.items():
            for key, value_type in keys.items():
                is_known = value_type in known or re.fullmatch(r"\d+(\|\d+)+", value_type)
                assert is_known, (group, key, value_type)


def test_deploy_command_writes_checks_and_refuses_wrong_options(
    xpnet: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    options = ("--platform", "rtx", "--source", CLIP, "--sink", "screen", "--output", tmp_path)
    result = xpnet("deploy", *options, "--triton", "grpc")
    assert result.returncode == 0, result.stderr
    app_file = tmp_path / "cart_rtx_file_screen_grpc.txt"
    assert result.stdout == f"deepstream-app -c {app_file}\n"
    assert xpnet("deploy", "--check", app_file).returncode == 0
    replace_text(app_file, "batch-size", "batchsize")
    assert "nearest known: 'batch-size'" in one_line(xpnet("deploy", "--check", app_file))
    assert "--url belongs to" in one_line(
        xpnet("deploy", *options, "--triton", "none", "--url", "x")
    )
    assert "--size 10" in one_line(xpnet("deploy", *options, "--triton", "none", "--size", "10"))
    assert "deploy needs --triton" in one_line(xpnet("deploy", *options))
    assert "no such file" in one_line(xpnet("deploy", "--check", tmp_path / "none.txt"))
