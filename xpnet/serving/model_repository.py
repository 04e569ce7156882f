"""The Triton model repository: written from cards, listed, copied."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from xpnet.card import Card
from xpnet.errors import UserError
from xpnet.files import write_text
from xpnet.serving.model_config import (
    DEFAULT_MODEL,
    FRAME_MODEL,
    frame_config,
    onnx_config,
    onnx_name,
    parse_config,
    plan_config,
)

HINTS = {
    ".onnx": ": `xpnet export` writes its ONNX file",
    ".plan": ": a TensorRT plan is built on the target",
}


def write_repository(repository: Path, plan: Card, onnx: Card) -> None:
    """Write config.pbtxt and card.json of a network's two models, and the config of `xpnet_frame`.

    The ONNX file must already be in the repository.

    Args:
        repository: The Triton model repository.
        plan: Card of the TensorRT plan.
        onnx: Card of the ONNX file.
    """
    for name, text, card in (
        (plan.name, plan_config(plan), plan),
        (onnx_name(onnx), onnx_config(onnx), onnx),
        (FRAME_MODEL, frame_config(DEFAULT_MODEL), None),
    ):
        folder = repository / name
        (folder / "1").mkdir(parents=True, exist_ok=True)
        write_text(folder / "config.pbtxt", text)
        if card is not None:
            card.write(folder / "card.json")


def without_batching(repository: Path, models: Iterable[str], copy: Path) -> None:
    """Make a repository of the same models without dynamic batching.

    Weights, code and cards are symbolic links; `repository` is not changed.

    Args:
        repository: The Triton model repository.
        models: Names of the models.
        copy: Folder of the new repository.
    """
    from google.protobuf import text_format

    for name in models:
        (copy / name).mkdir(parents=True)
        for path in (repository / name).iterdir():
            (copy / name / path.name).symlink_to(path.absolute())
        config = parse_config(repository / name / "config.pbtxt")
        config.ClearField("dynamic_batching")
        (copy / name / "config.pbtxt").unlink()
        write_text(copy / name / "config.pbtxt", text_format.MessageToString(config))


def servable_models(repository: Path, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Return the models to load, after checking their files.

    Args:
        repository: The Triton model repository.
        wanted: Names of models; empty for all whose weights are present.

    Raises:
        UserError: A wanted model or its weights are missing, or there is no model at all.
    """
    if not repository.is_dir():
        raise UserError(f"{repository}: no such model repository")
    folders = sorted(p.parent.name for p in repository.glob("*/config.pbtxt"))
    present = tuple(n for n in folders if weights_path(repository, n).is_file())
    for name in wanted:
        if name not in folders:
            raise UserError(
                f"{repository}: no model '{name}', found: {', '.join(folders) or 'none'}"
            )
        if name not in present:
            missing = weights_path(repository, name)
            hint = HINTS.get(missing.suffix, "")
            raise UserError(f"model '{name}': {missing} is missing{hint}")
    if not present:
        raise UserError(f"{repository}: contains no model that can be served")
    if FRAME_MODEL in wanted:  # calls another model
        inner = _inner_model(repository)
        return (*wanted, *(() if inner in wanted else servable_models(repository, (inner,))))
    return wanted or present


def _inner_model(repository: Path) -> str:
    """Return the model that `xpnet_frame` calls."""
    path = repository / FRAME_MODEL / "config.pbtxt"
    config = parse_config(path)
    if "model" not in config.parameters:
        raise UserError(f"{path}: parameter 'model' is missing")
    return str(config.parameters["model"].string_value)


def weights_path(repository: Path, name: str) -> Path:
    """Return the file that makes a model servable: its weights, or the code of a Python model."""
    config = parse_config(repository / name / "config.pbtxt")
    return repository / name / "1" / (config.default_model_filename or "model.py")
