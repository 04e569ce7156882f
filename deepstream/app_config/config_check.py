"""`xpnet deploy --check FILE`: checks a config on any machine.

The check finds what NVIDIA's parsers find, and more: every path exists, and tensors, sizes, scale
and threshold are those of the model's card (`deepstream.app_config.card_checks`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepstream.app_config import (
    app_groups,
    card_checks,
    infer_config,
    key_files,
    nvinferserver_schema,
)
from deepstream.app_config.key_tables import DEEPSTREAM_APP_KEYS, NVINFER_KEYS
from xpnet.card import Card, read_card
from xpnet.errors import UserError
from xpnet.paths import MODEL_REPOSITORY, card_path
from xpnet.serving.model_config import parse_config
from xpnet.tensorrt.plan_check import check_plan, read_plan_card

CONTROL_MODES = ("", "none", "explicit")
"""Values of `model_control_mode` that nvinferserver accepts (infer_trtis_server.cpp)."""


@dataclass(frozen=True)
class InferSummary:
    """What a checked inference config runs.

    Attributes:
        plugin: `nvinfer` or `nvinferserver`.
        card: The model's card.
        batch: Batch size of the config.
        max_batch: The plan's largest batch.
        model_file: The file that the plugin loads, or None if a separate server loads it.
    """

    plugin: str
    card: Card
    batch: int
    max_batch: int
    model_file: Path | None

    def __str__(self) -> str:
        size = f"{self.card.input.height} x {self.card.input.width}"
        return f"{self.plugin}, {self.card.name} at {size}, batch {self.batch}"


@dataclass(frozen=True)
class ConfigChecker:
    """Checks files of deepstream-app, nvinferserver and nvinfer.

    Attributes:
        repository: The Triton model repository of a separate server.
        require_plan: Whether the TensorRT plan must exist and match the model.
    """

    repository: Path = MODEL_REPOSITORY
    require_plan: bool = True

    def check(self, path: Path) -> str:
        """Check a file and return one line that describes it.

        Args:
            path: A file of deepstream-app, or a config of nvinferserver or nvinfer.

        Raises:
            UserError: The first error, with file and line if known.
        """
        text = _read(path)
        description = ""
        if _is_nvinferserver_config(text):
            summary = self._check_nvinferserver(path, text)
        else:
            entries = key_files.parse(text, str(path))
            if any(entry.group == "property" for entry in entries):
                summary = self._check_nvinfer(path, entries)
            else:
                description, summary = self._check_app_file(path, entries)
        if self.require_plan:  # last, so that errors in the file itself are reported first
            _check_model_file(summary)
        return f"{path}: {description}{summary}"

    def _check_app_file(
        self, path: Path, entries: list[key_files.Entry]
    ) -> tuple[str, InferSummary]:
        key_files.check_entries(entries, DEEPSTREAM_APP_KEYS, str(path))
        groups = _enabled_groups(entries)
        _check_paths([e for e in entries if e.group in groups], DEEPSTREAM_APP_KEYS, path)
        names = {name: key_files.find_group(name, DEEPSTREAM_APP_KEYS) for name in groups}
        for required in ("streammux", "primary-gie", "sinkN", "sourceN"):
            has_source_list = required == "sourceN" and "source-list" in groups
            if required not in names.values() and not has_source_list:
                example = required.replace("N", "0")
                raise UserError(f"{path}: no enabled group [{example}], expected one with enable=1")
        if "source-list" in groups and "source-attr-all" not in groups:
            raise UserError(f"{path}: [source-list] needs a group [source-attr-all] with enable=1")
        summary = self._check_primary_gie(path, groups["primary-gie"])
        sources = [groups[group] for group, name in names.items() if name == "sourceN"]
        count = sum(_stream_count(source) for source in sources)
        if not sources:
            count = len(groups["source-list"].get("list", "").strip(";").split(";"))
        card_checks.check_batch(path, groups, count, summary.batch, summary.max_batch)
        card_checks.check_segvisual_size(path, groups, summary.card)
        card_checks.check_live_settings(path, groups, sources)
        return f"deepstream-app, {count} source{'s' * (count > 1)}; ", summary

    def _check_primary_gie(self, path: Path, gie: dict[str, str]) -> InferSummary:
        """Check the inference config that deepstream-app's file refers to."""
        if "config-file" not in gie:
            raise UserError(f"{path}: [primary-gie] has no config-file")
        target = key_files.resolve_path(gie["config-file"], path)
        text = _read(target)
        is_nvinferserver = _is_nvinferserver_config(text)
        found, expected = gie.get("plugin-type", "0"), str(int(is_nvinferserver))
        if found != expected:
            plugin = "nvinferserver" if is_nvinferserver else "nvinfer"
            raise UserError(
                f"{path}: [primary-gie] plugin-type={found}, expected {expected}: {target.name} is "
                f"a config of {plugin}"
            )
        if is_nvinferserver:
            return self._check_nvinferserver(target, text)
        return self._check_nvinfer(target, key_files.parse(text, str(target)))

    def _check_nvinferserver(self, path: Path, text: str) -> InferSummary:
        infer = nvinferserver_schema.parse(text, str(path)).infer_config
        triton = infer.backend.triton
        mode = triton.model_repo.model_control_mode
        if mode not in CONTROL_MODES:
            raise UserError(f"{path}: model_control_mode '{mode}', expected 'none' or 'explicit'")
        if len(infer.gpu_ids) > 1:
            raise UserError(f"{path}: gpu_ids {list(infer.gpu_ids)}, expected one")
        model = self._find_repository(path, triton) / triton.model_name
        card = _read_card(model, path)
        labels = infer.postprocess.labelfile_path
        if labels and not key_files.resolve_path(labels, path, follow_link=False).is_file():
            raise UserError(f"{path}: labelfile_path {labels}: no such file")
        if not infer.HasField("input_tensor_from_meta"):
            card_checks.check_nvinferserver(path, infer, card)
        config = parse_config(model / "config.pbtxt")
        in_process = triton.HasField("model_repo")
        return InferSummary(
            plugin="nvinferserver",
            card=card,
            batch=max(1, infer.max_batch_size),
            max_batch=config.max_batch_size,
            model_file=_find_model_file(model, config) if in_process else None,
        )

    def _find_repository(self, path: Path, triton: Any) -> Path:
        server = triton.WhichOneof("server")
        if server is None:
            raise UserError(f"{path}: backend.triton has no model_repo and no grpc, expected one")
        if server == "grpc":
            return self.repository
        if len(triton.model_repo.root) != 1:
            raise UserError(f"{path}: {len(triton.model_repo.root)} roots, expected one")
        root = key_files.resolve_path(triton.model_repo.root[0], path, follow_link=False)
        if not root.is_dir():
            raise UserError(f"{path}: model repository {root}: no such folder")
        return root

    def _check_nvinfer(self, path: Path, entries: list[key_files.Entry]) -> InferSummary:
        key_files.check_entries(entries, NVINFER_KEYS, str(path))
        keys = {e.key: e.value for e in entries if e.group == "property"}
        for required in ("onnx-file", "model-engine-file"):
            if required not in keys:
                raise UserError(f"{path}: [property] has no {required}")
        plan = key_files.resolve_path(keys["model-engine-file"], path)
        model = plan.parents[1]
        card = read_card(card_path(model))
        _check_paths([e for e in entries if e.key != "model-engine-file"], NVINFER_KEYS, path)
        network_type = keys.get("network-type", "0")
        if network_type != str(infer_config.SEGMENTATION):
            expected = f"{infer_config.SEGMENTATION}, segmentation"
            raise UserError(f"{path}: network-type {network_type}, expected {expected}")
        card_checks.check_tensors(
            path,
            card,
            dims=[int(x) for x in keys.get("infer-dims", "").strip(";").split(";") if x],
            scale=float(keys.get("net-scale-factor", "1")),
            threshold=float(keys.get("segmentation-threshold", "0")),
            classes=int(keys.get("num-detected-classes", "0")),
        )
        card_checks.check_scaling_filter(path, "scaling-filter", keys.get("scaling-filter", "0"))
        card_checks.check_dla(path, keys, read_plan_card(plan))
        color_format = str(infer_config.COLOR_FORMATS[card.input.colours])
        for key, default, expected in (
            ("output-blob-names", "", card.output.name),
            ("model-color-format", "0", color_format),
        ):
            card_checks.check_equal(path, key, keys.get(key, default), expected, card)
        return InferSummary(
            plugin="nvinfer",
            card=card,
            batch=int(keys.get("batch-size", "1")),
            max_batch=parse_config(model / "config.pbtxt").max_batch_size,
            model_file=plan,
        )


def _enabled_groups(entries: list[key_files.Entry]) -> card_checks.Groups:
    """Return the groups that deepstream-app uses.

    A group that may contain `enable` is disabled without it: sources, sinks and [primary-gie] are
    then not even parsed (deepstream_config_file_parser.c).
    """
    groups: card_checks.Groups = {}
    for entry in entries:
        groups.setdefault(entry.group, {})[entry.key] = entry.value

    def is_enabled(name: str, keys: dict[str, str]) -> bool:
        known = DEEPSTREAM_APP_KEYS[str(key_files.find_group(name, DEEPSTREAM_APP_KEYS))]
        return "enable" not in known or keys.get("enable", "0") != "0"

    return {name: keys for name, keys in groups.items() if is_enabled(name, keys)}


def _stream_count(source: dict[str, str]) -> int:
    """Return how many streams a `[sourceN]` opens: several if its URI contains a counter, %d."""
    if source.get("type") != str(app_groups.SOURCE_MULTI_URI):
        return 1
    return max(1, int(source.get("num-sources", "1")))


def _is_nvinferserver_config(text: str) -> bool:
    """Return whether a config is protobuf text, as nvinferserver reads it."""
    return re.search(r"^\s*infer_config\s*:?\s*\{", text, re.M) is not None


def _read(path: Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error


def _check_paths(entries: list[key_files.Entry], table: key_files.KeyTable, config: Path) -> None:
    """Check that the files and folders that entries refer to exist."""
    for entry in entries:
        value_type = key_files.find_value_type(entry, table)
        is_file_uri = value_type == "uri" and entry.value.startswith("file://")
        path = key_files.resolve_path(entry.value.replace("%d", "0"), config)
        if (value_type == "path" or is_file_uri) and not path.exists():
            raise UserError(f"{config}:{entry.line}: {entry.key} {path}: no such file")


def _read_card(model: Path, config: Path) -> Card:
    """Read the card of a model; its absence is an error in the config, which names the model."""
    path, repository = card_path(model), model.parent
    if not path.is_file():
        known = sorted(p.parent.name for p in repository.glob("*/card.json"))
        nearest = key_files.nearest_known(model.name, known)
        raise UserError(f"{config}: model '{model.name}' has no card in {repository}{nearest}")
    return read_card(path)


def _find_model_file(model: Path, config: Any) -> Path:
    """Return the file that Triton loads, in any version of the model; it may be missing."""
    name = config.default_model_filename or "model.plan"
    return next(iter(sorted(model.glob(f"*/{name}"))), model / "1" / name)


def _check_model_file(summary: InferSummary) -> None:
    """Check that the model's file exists, and that a plan belongs to the model and this GPU."""
    path = summary.model_file
    if path is None:
        return
    if path.suffix != ".plan":
        if not path.is_file():
            raise UserError(f"{path}: no such file")
        return
    if not path.is_file():
        command = infer_config.build_command(summary.card.name)
        raise UserError(f"{path}: no TensorRT plan yet, it is built on the target: {command}")
    check_plan(path.parents[1])
