"""`xpnet deploy --check FILE`: checks a config on any machine.

It checks what NVIDIA's parsers check, and more: that every path exists, and that tensors, sizes,
scale and threshold are those of the model's card.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepstream.app_config import card_checks, infer_config, key_files, nvinferserver_schema
from deepstream.app_config.key_tables import APP, NVINFER
from xpnet.card import Card, read_card
from xpnet.errors import UserError
from xpnet.paths import MODEL_REPOSITORY
from xpnet.serving.model_config import largest_batch
from xpnet.tensorrt.plan_check import check_plan

CONTROL_MODES = ("", "none", "explicit")
"""model_control_mode of nvinferserver (infer_trtis_server.cpp)."""


@dataclass(frozen=True)
class Inference:
    """What a checked inference config uses; `weights` is the file that it loads itself."""

    plugin_type: int
    card: Card
    batch: int
    weights: Path | None
    most: int  # the plan's largest batch

    def __str__(self) -> str:
        kind = "nvinferserver" if self.plugin_type else "nvinfer"
        size = f"{self.card.input.height} x {self.card.input.width}"
        return f"{kind}, {self.card.name} at {size}, batch {self.batch}"


@dataclass(frozen=True)
class Checker:
    """Checks config files.

    Attributes:
        repository: The models that a config with a server of its own refers to.
        built: Whether the TensorRT plan must exist.
    """

    repository: Path = MODEL_REPOSITORY
    built: bool = True

    def check(self, path: Path) -> str:
        """Check a file and return one line that describes it.

        Args:
            path: A deepstream-app file, or a config of nvinferserver or nvinfer.

        Raises:
            UserError: The first error, with file and line if known.
        """
        text = _read(path)
        if _is_server(text):
            what, inference = "", self._server(path, text)
        else:
            entries = key_files.parse(text, str(path))
            if any(entry.group == "property" for entry in entries):
                what, inference = "", self._nvinfer(path, entries)
            else:
                what, inference = self._app(path, entries)
        if self.built:  # last, so that errors in the file itself are reported first
            _weights_there(inference)
        return f"{path}: {what}{inference}"

    def _app(self, path: Path, entries: list[key_files.Entry]) -> tuple[str, Inference]:
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
        count = sum(_streams(source) for source in sources)
        if not sources:
            count = len(groups["source-list"].get("list", "").strip(";").split(";"))
        card_checks.check_batch(path, groups, count, inference.batch, inference.most)
        card_checks.check_segvisual_size(path, groups, inference.card)
        card_checks.check_live_settings(path, groups, sources)
        return f"deepstream-app, {count} source{'s' * (count > 1)}; ", inference

    def _inference(self, path: Path, gie: dict[str, str]) -> Inference:
        if "config-file" not in gie:
            raise UserError(f"{path}: [primary-gie] has no config-file")
        target = key_files.resolve(gie["config-file"], path)
        text = _read(target)
        server = _is_server(text)
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
        labels = infer.postprocess.labelfile_path
        if labels and not key_files.resolve(labels, path).is_file():
            raise UserError(f"{path}: labelfile_path {labels}: no such file")
        if not infer.HasField("input_tensor_from_meta"):
            card_checks.check_infer_config(path, infer, card)
        weights = _weights(repository / triton.model_name) if in_process else None
        most = largest_batch(repository / triton.model_name / "config.pbtxt")
        return Inference(1, card, max(1, infer.max_batch_size), weights, most)

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
        _paths_exist([e for e in entries if e.key != "model-engine-file"], NVINFER, path)
        network = keys.get("network-type", "0")
        if network != str(infer_config.SEGMENTATION):
            wanted = f"{infer_config.SEGMENTATION}, segmentation"
            raise UserError(f"{path}: network-type {network}, expected {wanted}")
        card_checks.check_tensors_against_card(
            path,
            card,
            dims=[int(x) for x in keys.get("infer-dims", "").strip(";").split(";") if x],
            scale=float(keys.get("net-scale-factor", "1")),
            threshold=float(keys.get("segmentation-threshold", "0")),
            classes=int(keys.get("num-detected-classes", "0")),
        )
        card_checks.check_same(
            path, "output-blob-names", keys.get("output-blob-names", ""), card.output.name
        )
        card_checks.check_scaling_filter(path, "scaling-filter", keys.get("scaling-filter", "0"))
        colours = infer_config.FORMATS[card.input.colours][1]
        card_checks.check_same(
            path, "model-color-format", keys.get("model-color-format", "0"), str(colours)
        )
        most = largest_batch(plan.parent.parent / "config.pbtxt")
        return Inference(0, card, int(keys.get("batch-size", "1")), plan, most)


def _streams(source: dict[str, str]) -> int:
    """Return how many streams a `[sourceN]` opens: type 3 counts up the %d in its URI."""
    return max(1, int(source.get("num-sources", "1"))) if source.get("type") == "3" else 1


def _is_server(text: str) -> bool:
    """Return whether a config is nvinferserver's protobuf text."""
    return re.search(r"^\s*infer_config\s*:?\s*\{", text, re.M) is not None


def _read(path: Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error


def _paths_exist(entries: list[key_files.Entry], table: key_files.Table, config: Path) -> None:
    for entry in entries:
        kind = key_files.kind_of_key(entry, table)
        local = kind == "path" or (kind == "uri" and entry.value.startswith("file://"))
        found = key_files.resolve(entry.value.replace("%d", "0"), config)
        if local and not found.exists():
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


def _weights(model: Path) -> Path:
    """Return the file that Triton loads: config.pbtxt names it; of several versions, any."""
    config = _read(model / "config.pbtxt")
    found = re.search(r'default_model_filename:\s*"([^"]+)"', config)
    name = found[1] if found else "model.plan"
    return next(iter(sorted(model.glob(f"*/{name}"))), model / "1" / name)


def _weights_there(inference: Inference) -> None:
    path, card = inference.weights, inference.card
    if path is None:
        return
    if path.is_file():
        if path.suffix == ".plan":
            check_plan(path.parents[1])
        return
    if path.suffix != ".plan":
        raise UserError(f"{path}: no such file")
    command = infer_config.plan_command(card)
    raise UserError(f"{path}: no TensorRT plan yet, it is built on the target: {command}")
