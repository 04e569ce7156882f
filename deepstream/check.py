"""Whether a config would run: `xpnet deploy --check FILE`, on any machine.

Looks at what NVIDIA's parsers look at, and at what they do not: that every path is there, and that
tensors, sizes, scale and threshold are those of the model's card.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepstream import app_config, infer_config, key_files, nvinferserver_schema
from deepstream.deploy import onnx_file
from deepstream.keys import APP, NVINFER
from xpnet.card import Card, TensorSpec, read_card
from xpnet.errors import UserError
from xpnet.triton.config import MAX_BATCH
from xpnet.triton.server import REPOSITORY

TOLERANCE = 1e-6
"""Of scale and threshold: protobuf and nvinfer hold 32-bit floats."""
CONTROL_MODES = ("", "none", "explicit")
"""model_control_mode of nvinferserver (infer_trtis_server.cpp)."""


@dataclass(frozen=True)
class Inference:
    """What a checked inference config asks for."""

    plugin_type: int
    card: Card
    batch: int

    def __str__(self) -> str:
        kind = "nvinferserver" if self.plugin_type else "nvinfer"
        size = f"{self.card.input.height} x {self.card.input.width}"
        return f"{kind}, {self.card.name} at {size}, batch {self.batch}"


@dataclass(frozen=True)
class Checker:
    """Checks files one by one; `built` whether the TensorRT plan has to be there.

    `repository` holds the models that a config asks a server of its own for.
    """

    repository: Path = REPOSITORY
    built: bool = True

    def check(self, path: Path) -> str:
        """One line that says what the config does.

        Raises:
            UserError: the first thing that is wrong, with file and line where there is one.
        """
        text = _read(path)
        if re.search(r"^\s*infer_config\s*:?\s*\{", text, re.M):
            return f"{path}: {self._server(path, text)}"
        entries = key_files.parse(text, str(path))
        if any(entry.group == "property" for entry in entries):
            return f"{path}: {self._nvinfer(path, entries)}"
        return f"{path}: {self._app(path, entries)}"

    def _app(self, path: Path, entries: list[key_files.Entry]) -> str:
        key_files.check(entries, APP, str(path))
        groups: dict[str, dict[str, str]] = {}
        for entry in entries:
            groups.setdefault(entry.group, {})[entry.key] = entry.value
        groups = {k: v for k, v in groups.items() if v.get("enable", "1") != "0"}
        _paths_exist([e for e in entries if e.group in groups], APP, path)
        numbered = {name: key_files.group_name(name, APP) for name in groups}
        sources = [groups[k] for k, v in numbered.items() if v == "sourceN"]
        for needed in ("streammux", "primary-gie", "sinkN", "sourceN"):
            if needed not in numbered.values() and not (
                needed == "sourceN" and "source-list" in groups
            ):
                raise UserError(f"{path}: no group [{needed.replace('N', '0')}] that is enabled")
        inference = self._inference(path, groups["primary-gie"])
        count = len(sources) or len(groups["source-list"].get("list", "").strip(";").split(";"))
        _batch_fits(path, groups, count, inference.batch)
        _picture_fits(path, groups, count, inference.card)
        _live_fits(path, groups, sources)
        return f"deepstream-app, {count} source{'s' * (count > 1)}; {inference}"

    def _inference(self, path: Path, gie: dict[str, str]) -> Inference:
        if "config-file" not in gie:
            raise UserError(f"{path}: [primary-gie] has no config-file")
        target = key_files.resolve(gie["config-file"], path)
        text = _read(target)
        server = re.search(r"^\s*infer_config\s*:?\s*\{", text, re.M) is not None
        if gie.get("plugin-type", "0") != str(int(server)):
            kind = "nvinferserver, plugin-type=1" if server else "nvinfer, plugin-type=0"
            raise UserError(
                f"{path}: [primary-gie] plugin-type={gie.get('plugin-type', '0')}, but "
                f"{target.name} is a config of {kind}"
            )
        if server:
            return self._server(target, text)
        return self._nvinfer(target, key_files.parse(text, str(target)))

    def _server(self, path: Path, text: str) -> Inference:
        infer = nvinferserver_schema.parse(text, str(path)).infer_config
        triton = infer.backend.triton
        if triton.model_repo.model_control_mode not in CONTROL_MODES:
            mode = triton.model_repo.model_control_mode
            raise UserError(f"{path}: model_control_mode '{mode}', expected 'none' or 'explicit'")
        if len(infer.gpu_ids) > 1:
            raise UserError(f"{path}: gpu_ids {list(infer.gpu_ids)}, expected one")
        repository = self._repository(path, triton)
        card = _card(repository, triton.model_name, path)
        in_process = triton.HasField("model_repo")
        if in_process and self.built:
            _weights_there(repository, card, triton.model_name)
        labels = infer.postprocess.labelfile_path
        if labels and not key_files.resolve(labels, path).is_file():
            raise UserError(f"{path}: labelfile_path {labels}: no such file")
        if not infer.HasField("input_tensor_from_meta"):
            _server_fits(path, infer, card)
        return Inference(1, card, max(1, infer.max_batch_size))

    def _repository(self, path: Path, triton: Any) -> Path:
        which = triton.WhichOneof("server")
        if which is None:
            raise UserError(f"{path}: backend.triton names neither model_repo nor grpc")
        if which == "grpc":
            return self.repository
        if len(triton.model_repo.root) != 1:
            raise UserError(f"{path}: {len(triton.model_repo.root)} roots, expected one")
        root = key_files.resolve(triton.model_repo.root[0], path)
        if not root.is_dir():
            raise UserError(f"{path}: model repository {root}: no such folder")
        return root

    def _nvinfer(self, path: Path, entries: list[key_files.Entry]) -> Inference:
        key_files.check(entries, NVINFER, str(path))
        keys = {e.key: e.value for e in entries if e.group == "property"}
        for needed in ("onnx-file", "model-engine-file"):
            if needed not in keys:
                raise UserError(f"{path}: [property] has no {needed}")
        plan = key_files.resolve(keys["model-engine-file"], path)
        card = read_card(plan.parent.parent / "card.json")
        if self.built and not plan.is_file():
            raise _no_plan(card, plan, key_files.resolve(keys["onnx-file"], path))
        _paths_exist([e for e in entries if e.key != "model-engine-file"], NVINFER, path)
        network = keys.get("network-type", "0")
        if network != str(infer_config.SEGMENTATION):
            wanted = f"{infer_config.SEGMENTATION}, segmentation"
            raise UserError(f"{path}: network-type {network}, expected {wanted}")
        _tensors_fit(
            path,
            card,
            dims=[int(x) for x in keys.get("infer-dims", "").strip(";").split(";") if x],
            scale=float(keys.get("net-scale-factor", "1")),
            threshold=float(keys.get("segmentation-threshold", "0")),
            classes=int(keys.get("num-detected-classes", "0")),
        )
        _same(path, "output-blob-names", keys.get("output-blob-names", ""), card.output.name)
        colours = infer_config.FORMATS[card.input.colours][1]
        _same(path, "model-color-format", keys.get("model-color-format", "0"), str(colours))
        return Inference(0, card, int(keys.get("batch-size", "1")))


def _read(path: Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error


def _paths_exist(entries: list[key_files.Entry], table: key_files.Table, config: Path) -> None:
    for entry in entries:
        name = key_files.group_name(entry.group, table)
        kind = table[name][entry.key] if name else ""
        local = kind == "path" or (kind == "uri" and entry.value.startswith("file://"))
        if local and not key_files.resolve(entry.value, config).exists():
            found = key_files.resolve(entry.value, config)
            raise UserError(f"{config}:{entry.line}: {entry.key} {found}: no such file")


def _card(repository: Path, model: str, config: Path) -> Card:
    path = repository / model / "card.json"
    if not path.is_file():
        known = sorted(p.parent.name for p in repository.glob("*/card.json"))
        raise UserError(
            f"{config}: model '{model}' has no card in {repository}"
            f"{key_files.nearest(model, known)}"
        )
    return read_card(path)


def _weights_there(repository: Path, card: Card, model: str) -> None:
    """The file that Triton loads: config.pbtxt names it."""
    config = _read(repository / model / "config.pbtxt")
    found = re.search(r'default_model_filename:\s*"([^"]+)"', config)
    name = found[1] if found else "model.plan"
    if any((repository / model).glob(f"*/{name}")):
        return
    missing = repository / model / "1" / name
    if name.endswith(".plan"):
        raise _no_plan(card, missing, onnx_file(card, repository))
    raise UserError(f"{missing}: no such file")


def _no_plan(card: Card, plan: Path, onnx: Path) -> UserError:
    command = infer_config.plan_command(card, onnx, plan, MAX_BATCH)
    return UserError(f"{plan}: no TensorRT plan yet, it is built on the target: {command}")


def _server_fits(path: Path, infer: Any, card: Card) -> None:
    inputs, outputs = infer.backend.inputs, infer.backend.outputs
    for what, layers, tensor in (("input", inputs, card.input), ("output", outputs, card.output)):
        names = [x.name for x in layers]
        if names not in ([], [tensor.name]):
            raise UserError(
                f"{path}: {what} {', '.join(names)}, the card of {card.name} says {tensor.name}"
            )
    before, after = infer.preprocess, infer.postprocess.segmentation
    if before.tensor_name:
        _same(path, "tensor_name", before.tensor_name, card.input.name)
    formats = nvinferserver_schema.ENUMS["MediaFormat"].split()
    expected = infer_config.FORMATS[card.input.colours][0]
    _same(path, "network_format", formats[before.network_format], expected)
    orders = nvinferserver_schema.ENUMS["TensorOrder"].split()
    order = infer_config.ORDERS[card.input.layout]
    _same(path, "tensor_order", orders[before.tensor_order], order)
    if infer.postprocess.WhichOneof("process_type") == "segmentation":
        threshold, classes = after.threshold, after.num_segmentation_classes
    else:  # raw tensors for a graph of one's own: `other`
        threshold, classes = card.threshold, card.output.shape[1]
    _tensors_fit(
        path,
        card,
        dims=list(inputs[0].dims) if inputs and inputs[0].dims else list(card.input.shape[1:]),
        scale=before.normalize.scale_factor,
        threshold=threshold,
        classes=classes,
    )


def _tensors_fit(
    path: Path, card: Card, dims: list[int], scale: float, threshold: float, classes: int
) -> None:
    _same(path, "input size", _size(dims), _size(card.input.shape[1:]))
    for what, found, expected in (
        ("scale", scale, infer_config.scale_factor(card.input)),
        ("threshold", threshold, card.threshold),
    ):
        if abs(found - expected) > TOLERANCE:
            raise UserError(f"{path}: {what} {found:.6g}, the card says {expected:.6g}")
    _same(path, "classes", str(classes), str(_channels(card.output)))


def _channels(tensor: TensorSpec) -> int:
    return tensor.shape[1]


def _size(dims: Any) -> str:
    return " x ".join(map(str, dims))


def _same(path: Path, what: str, found: str, expected: str) -> None:
    if found != expected:
        raise UserError(f"{path}: {what} {found}, the card says {expected}")


def _batch_fits(path: Path, groups: dict[str, dict[str, str]], sources: int, batch: int) -> None:
    if batch > MAX_BATCH:
        raise UserError(f"{path}: batch {batch}, the plan's largest is {MAX_BATCH}")
    for group in ("streammux", "primary-gie", "segvisual"):
        found = groups.get(group, {}).get("batch-size")
        if found is not None and int(found) != sources:
            raise UserError(f"{path}: [{group}] batch-size={found}, but {sources} sources")
    if batch < sources:
        raise UserError(f"{path}: inference takes batches of {batch}, but {sources} sources")
    tiles = groups.get("tiled-display")
    if tiles and int(tiles.get("rows", 1)) * int(tiles.get("columns", 1)) < sources:
        raise UserError(f"{path}: [tiled-display] has fewer tiles than {sources} sources")


def _picture_fits(
    path: Path, groups: dict[str, dict[str, str]], sources: int, card: Card
) -> None:  # fmt: skip
    seg = groups.get("segvisual")
    if seg is None:
        return
    found = (int(seg.get("height", 720)), int(seg.get("width", 1280)))  # the parser's defaults
    expected = (card.output.height, card.output.width)
    if found != expected:
        raise UserError(
            f"{path}: [segvisual] {found[0]} x {found[1]}, the card's output is "
            f"{expected[0]} x {expected[1]}"
        )


def _live_fits(
    path: Path, groups: dict[str, dict[str, str]], sources: list[dict[str, str]]
) -> None:
    """Cameras and RTSP alone: the muxer must not wait, and no sink may."""
    live = {str(app_config.V4L2), str(app_config.RTSP)}
    if not sources or any(source.get("type") not in live for source in sources):
        return
    if groups["streammux"].get("live-source") != "1":
        raise UserError(f"{path}: live sources, but [streammux] has no live-source=1")
    for name, keys in groups.items():
        if key_files.group_name(name, APP) == "sinkN" and keys.get("sync", "0") != "0":
            raise UserError(f"{path}: live sources, but [{name}] has sync={keys['sync']}")
