"""`xpnet evaluate` and its table, curves and panel: scores of models."""

from __future__ import annotations

import argparse
import json
from contextlib import closing
from pathlib import Path
from typing import Any

from xpnet.commands.options import TRAIN_HINT, add_command, add_repository
from xpnet.commands.report_files import add_report_files, check_report_files, write_report_files
from xpnet.errors import UserError, not_installed
from xpnet.files import check_distinct, check_writable, write_text
from xpnet.serving.cpu_runtimes import AUTO, RUNTIMES
from xpnet.serving.model_config import DEFAULT_MODEL


def add_evaluate(commands: Any) -> None:
    """Add `xpnet evaluate`."""
    p = add_command(
        commands,
        "evaluate",
        "score a model on frames with masks",
        "xpnet evaluate --data DIR --split val --json build/scores.json",
        evaluate,
    )
    _add_data(p)
    p.add_argument(
        "--model", default=DEFAULT_MODEL, help="model of the repository (default: %(default)s)"
    )
    p.add_argument(
        "--file",
        type=Path,
        help="score this .onnx, .plan, .engine or .safetensors file instead of a model",
    )
    p.add_argument(
        "--url",
        default="",
        metavar="HOST:PORT",
        help="score the model that a running Triton serves",
    )
    p.add_argument(
        "--runtime",
        default=RUNTIMES[0],
        choices=(AUTO, *RUNTIMES),
        help="runtime of an ONNX file; auto: the one that serves here (default: %(default)s)",
    )
    p.add_argument(
        "--as-video",
        action="store_true",
        help="preprocess frames as `xpnet run` does those of a video; not with --card",
    )
    _add_repository_and_json(p)
    p.add_argument("--card", type=Path, help="record the scores in this card, under --name")
    p.add_argument("--name", help="name of the data set in the card")
    p.add_argument(
        "--choose-threshold",
        action="store_true",
        help="record the threshold with the highest Dice in --card; --split val only",
    )
    p.add_argument(
        "--choose-peak",
        action="store_true",
        help="record the peak with the fewest false positives that loses at most 1 in 50 polyps "
        "in --card; --split val only",
    )
    p.add_argument(
        "--peaks",
        action="store_true",
        help="also count polyps and false positives with each peak that could be chosen",
    )


def add_table(commands: Any) -> None:
    """Add `xpnet evaluate table`."""
    p = add_command(
        commands,
        "evaluate table",
        "print the paper's Table 1 beside the scores of model cards",
        "xpnet evaluate table training/weights/*.json --output build/table.md",
        table,
    )
    p.add_argument("card", type=Path, nargs="+", help="card of a model, with scores")
    p.add_argument("--output", type=Path, help="write Markdown here (default: print it)")
    p.add_argument("--json", type=Path, metavar="FILE", help="write all metrics as JSON")


def add_curves(commands: Any) -> None:
    """Add `xpnet evaluate curves`."""
    p = add_command(
        commands,
        "evaluate curves",
        "plot precision over recall and free-response curves",
        "xpnet evaluate curves build/scores.json --output build/curves.png",
        curves,
    )
    p.add_argument(
        "scores",
        type=Path,
        nargs="+",
        help="files of `xpnet evaluate --json`, one for each model; the name becomes the title",
    )
    p.add_argument("--output", type=Path, required=True, help="picture: .png, .svg or .pdf")


def add_tradeoff(commands: Any) -> None:
    """Add `xpnet evaluate tradeoff`."""
    p = add_command(
        commands,
        "evaluate tradeoff",
        "plot the accuracy of networks over the time of a frame",
        "xpnet evaluate tradeoff --accuracy build/peers/peers.json --speed build/network.json "
        "--set kvasir-seg --output build/tradeoff.png",
        tradeoff,
    )
    p.add_argument(
        "--accuracy", type=Path, required=True, metavar="FILE", help="`peers.json` of `train peers`"
    )
    p.add_argument(
        "--speed", type=Path, required=True, metavar="FILE", help="JSON of `bench network`"
    )
    p.add_argument("--set", required=True, metavar="NAME", help="data set whose Dice is drawn")
    p.add_argument("--output", type=Path, required=True, help="picture: .png, .svg or .pdf")


def add_panel(commands: Any) -> None:
    """Add `xpnet evaluate panel`."""
    p = add_command(
        commands,
        "evaluate panel",
        "draw frames, true masks and the masks of models side by side",
        "xpnet evaluate panel --data DIR --worst 6 --output build/panel.png "
        "--model lite=triton_models/xpnet_lite_onnx/1/model.onnx",
        panel,
    )
    _add_data(p)
    p.add_argument(
        "--model",
        action="append",
        required=True,
        metavar="NAME=FILE",
        help="a column: its title and an .onnx or .safetensors file; may be repeated",
    )
    p.add_argument("--output", type=Path, required=True, help="picture to write, .png or .jpg")
    p.add_argument("--frame", action="append", default=[], metavar="STEM", help="draw this frame")
    p.add_argument("--worst", type=int, default=0, help="draw the N worst of the last model")


def add_reflexes(commands: Any) -> None:
    """Add `xpnet evaluate reflexes`."""
    p = add_command(
        commands,
        "evaluate reflexes",
        "count the marked areas that are mostly specular reflexes, false and true ones",
        "xpnet evaluate reflexes --data DIR --json build/reflexes.json",
        reflexes,
    )
    _add_data(p)
    p.add_argument(
        "--model", default=DEFAULT_MODEL, help="model of the repository (default: %(default)s)"
    )
    add_report_files(p, section="reflexes")
    add_repository(p)


def _add_data(p: argparse.ArgumentParser) -> None:
    p.add_argument("--data", type=Path, required=True, help="data set in one of the known layouts")
    p.add_argument("--split", help="this split only: train, val or test (default: all frames)")


def _add_repository_and_json(p: argparse.ArgumentParser) -> None:
    add_repository(p)
    p.add_argument("--json", type=Path, metavar="FILE", help="write scores and curves as JSON")


def evaluate(args: argparse.Namespace) -> int:
    """Run `xpnet evaluate`."""
    from training.data.readers import read_data_set
    from training.evaluation.scoring import (
        as_lines,
        best_peak,
        best_threshold,
        check_same_weights,
        record_scores,
    )
    from training.evaluation.scoring import evaluate as score

    if bool(args.card) != bool(args.name):
        raise UserError("--card and --name require each other")
    for option in ("threshold", "peak"):
        if getattr(args, f"choose_{option}") and not (args.card and args.split == "val"):
            raise UserError(
                f"--choose-{option} needs --card and --split val: a test set must not choose it"
            )
    if args.choose_threshold and args.choose_peak:
        raise UserError(
            "--choose-threshold with --choose-peak: expected one of them: a peak is chosen at the "
            "card's threshold"
        )
    if args.card and args.as_video:
        raise UserError("--card with --as-video: expected one of them: cards hold scores of frames")
    if args.url and args.file:
        raise UserError(f"--url {args.url} with --file {args.file}: expected one of them")
    check_distinct((args.json,), (path for path in (args.card, args.file) if path))
    if args.json:
        check_writable(args.json)
    inference = _open(args)
    try:
        if args.card:
            check_same_weights(inference.card, args.card)
        source = read_data_set(args.data, _split_of(inference.card))
        check_distinct((args.json,), source.files)
        peaks = args.peaks or args.choose_peak
        scores, scored = score(inference, source, args.split, video=args.as_video, peaks=peaks)
        if args.as_video:
            scores["as_video"] = True  # not to be taken for the scores of frames
    finally:
        inference.close()
    print("\n".join(as_lines(scores)))
    if args.json:
        write_text(args.json, json.dumps(scores, indent=2) + "\n")
    if args.card:
        record_scores(scores, args.card, args.name)
    if args.choose_threshold:
        _set_in_card(args.card, threshold=best_threshold(scored))
    if args.choose_peak:
        _set_in_card(args.card, peak=best_peak(scores["by_peak"]))
    return 0


def reflexes(args: argparse.Namespace) -> int:
    """Run `xpnet evaluate reflexes`."""
    try:
        from training.data.readers import read_data_set
        from training.evaluation.reflexes import as_markdown, count_reflexes
        from xpnet.paths import onnx_path
        from xpnet.serving.onnx_inference import OnnxInference
    except ImportError as error:
        raise not_installed(str(error.name), "scoring", TRAIN_HINT) from error
    data_set = read_data_set(args.data)
    check_report_files(args, data_set.files)
    with closing(OnnxInference(onnx_path(args.repository / args.model))) as inference:
        found = count_reflexes(inference, data_set.in_split(args.split))
    write_report_files(args, found, as_markdown(found), "reflexes")
    return 0


def table(args: argparse.Namespace) -> int:
    """Run `xpnet evaluate table`."""
    from training.evaluation.score_table import as_json, as_markdown
    from xpnet.card import read_card

    check_distinct((args.output, args.json), args.card)
    for path in (args.output, args.json):
        if path:
            check_writable(path)
    cards = [read_card(path) for path in args.card]
    markdown = as_markdown(cards)
    if args.json:
        write_text(args.json, json.dumps(as_json(cards), indent=2) + "\n")
    if args.output:
        write_text(args.output, markdown)
    else:
        print(markdown, end="")
    return 0


def tradeoff(args: argparse.Namespace) -> int:
    """Run `xpnet evaluate tradeoff`."""
    from training.evaluation.tradeoff import draw_tradeoff
    from xpnet.figures import check_figure

    check_distinct((args.output,), (args.accuracy, args.speed))
    check_figure(args.output)
    reports = []
    for path, command in ((args.accuracy, "train peers"), (args.speed, "bench network --json")):
        try:
            reports.append(dict(json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, TypeError) as error:
            raise UserError(f"{path}: not a report of `xpnet {command}`: {error}") from error
    for name in draw_tradeoff(reports[0], reports[1], args.set, args.output):
        print(f"not drawn: {name} has no time or no Dice")
    return 0


def curves(args: argparse.Namespace) -> int:
    """Run `xpnet evaluate curves`."""
    try:
        from training.evaluation.curves import draw_curves
    except ImportError as error:
        raise not_installed(str(error.name), "plots", TRAIN_HINT) from error
    check_distinct((args.output,), args.scores)
    check_writable(args.output)
    models = {}
    for path in args.scores:
        try:
            if path.stem in models:
                raise UserError(
                    f"{path}: two files have this name, which is the title of the curve"
                )
            models[path.stem] = dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise UserError(f"{path}: not the scores of `evaluate --json`: {error}") from error
    draw_curves(models, args.output)
    return 0


def panel(args: argparse.Namespace) -> int:
    """Run `xpnet evaluate panel`."""
    from training.data.readers import read_data_set
    from training.evaluation.panel import draw, write_picture

    check_writable(args.output)
    if bool(args.frame) == bool(args.worst) or args.worst < 0:
        raise UserError("expected --frame STEM (may be repeated) or --worst N with N at least 1")
    files: dict[str, Path] = {}
    for word in args.model:
        name, equals, file = word.partition("=")
        if not (name and equals and file):
            raise UserError(f"--model {word}: expected NAME=FILE")
        if name in files:
            raise UserError(f"--model {word}: a second column '{name}', expected another NAME")
        files[name] = Path(file)
    columns = {name: _open_file(file) for name, file in files.items()}
    try:
        source = read_data_set(args.data, _split_of(list(columns.values())[-1].card))
        check_distinct((args.output,), source.files)
        picture, lines = draw(source, args.split, columns, args.frame, args.worst)
    finally:
        for model in columns.values():
            model.close()
    write_picture(picture, args.output)
    print("\n".join(lines))
    return 0


def _open(args: argparse.Namespace) -> Any:
    from xpnet.card import read_model_card
    from xpnet.serving.triton_client import TritonInference

    if args.url:
        card = read_model_card(args.repository, args.model)
        return TritonInference(args.url, args.model, card)
    path = args.file or args.repository / args.model / "1" / "model.onnx"
    return _open_file(path, args.runtime)


def _open_file(path: Path, runtime: str = RUNTIMES[0]) -> Any:
    """By its suffix; ONNX needs no torch, so only weights ask for it."""
    if path.suffix in (".plan", ".engine"):
        from xpnet.tensorrt.engine_inference import EngineInference

        return EngineInference(path)
    if path.suffix != ".safetensors":
        from xpnet.serving.onnx_inference import OnnxInference

        return OnnxInference(path, runtime)
    try:
        from training.models.torch_inference import TorchInference
    except ImportError as error:
        raise not_installed(str(error.name), "weights", TRAIN_HINT) from error
    return TorchInference(path)


def _split_of(card: Any) -> str:
    """How the model's own training split the data: another `val` may hold its training frames."""
    return str(card.training.get("settings", {}).get("split", "groups"))


def _set_in_card(path: Path, **values: float) -> None:
    from dataclasses import replace

    from xpnet.card import read_card

    replace(read_card(path), **values).write(path)  # type: ignore[arg-type]  # floats all
    for name, value in values.items():
        print(f"{path}: {name} {value}; export again to serve with it")
