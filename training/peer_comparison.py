"""`xpnet train peers`: our networks and those that others use, trained with equal budgets.

All rows have the same frames, steps, schedule, loss and seed, and random initial weights; one more
row shows what `lite` gains from its encoder's weights of ImageNet. An interrupted comparison
resumes; finished rows are not trained again.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.ablation import refuse_overrides, refuse_several_devices
from training.data.readers import read_data_set
from training.evaluation.scored_sets import ScoredSet, read_log, read_results, score_weights
from training.jobs import train
from training.models.peers import PEERS, make_peer
from training.settings import TrainSettings, read_settings
from training.trainer import NOT_IN_CARD
from xpnet.card import read_card
from xpnet.checksums import sha256
from xpnet.errors import UserError
from xpnet.files import check_writable, make_folder, write_text
from xpnet.host.cpu import measured_here

log = logging.getLogger("xpnet.peers")


@dataclass(frozen=True)
class Row:
    """One row of the comparison.

    Attributes:
        name: Name of the row.
        network: A key of training.models.zoo.NETWORKS or of training.models.peers.PEERS.
        imagenet: Whether the encoder starts from its weights of ImageNet.
    """

    name: str
    network: str
    imagenet: bool = False


ROWS = (
    Row("unet", "unet"),
    Row("student", "student"),
    Row("lite", "lite"),
    Row("lite, from ImageNet", "lite", imagenet=True),
    *(Row(name, name) for name in PEERS),
)
OPTIONS = {"output": "--output", "network": "--only", "imagenet": "--only"}
"""Settings that differ between the rows, and the options to use for them."""


def run_peers(
    config: str, overrides: dict[str, Any], sets: list[ScoredSet], output: Path, only: list[str]
) -> dict[str, Any]:
    """Train and score all rows whose packages are there.

    All rows have the settings of the job `student`. Several processes may share a folder if each
    has its own `only`.

    Args:
        config: Settings file, as in training.settings.read_settings.
        overrides: Settings for all rows.
        sets: Data sets to score on.
        output: Folder of the runs and of `peers.json`, which is written after each score.
        only: Names of the rows to train; empty for all.

    Returns:
        Content of `peers.json`: `settings` that all rows share, and `rows` by name, each with the
        machine on which its training ended.

    Raises:
        UserError: A row is unknown, the settings or a data set cannot be used, a training fails,
            or the folder cannot be written.
    """
    unknown = [name for name in only if name not in {row.name for row in ROWS}]
    if unknown:
        names = "; ".join(row.name for row in ROWS)
        raise UserError(f"--only '{unknown[0]}': no such row; known: {names}")
    refuse_overrides(overrides, OPTIONS)
    base = read_settings("student", config, overrides)
    refuse_several_devices(base, "a comparison")
    data_sets = {s.name: read_data_set(s.folder, base.split) for s in sets}
    make_folder(output)
    results = output / "peers.json"
    check_writable(results)
    for row in ROWS:
        if (only and row.name not in only) or not _is_installed(row):
            continue
        weights = train(_settings(row, base, output))
        before = read_results(results).get("rows", {}).get(row.name, {})
        known = before.get("scores", {})
        described = {**_describe(row, weights), **_where_trained(before, weights)}
        for scores in score_weights(weights, sets, data_sets, known):
            # Read the file again: another process may have added rows.
            rows = read_results(results).get("rows", {})
            rows[row.name] = {**described, "scores": scores}
            found = {"settings": _budget(base), "rows": rows}
            write_text(results, json.dumps(found, indent=2) + "\n")
    return _without_folders(read_results(results))


def as_markdown(found: dict[str, Any]) -> str:
    """Format the Dice of each row and set, with 95 % intervals, and the training time.

    Args:
        found: Content of `peers.json`.
    """
    rows = found.get("rows", {})
    sets = list(dict.fromkeys(name for row in rows.values() for name in row["scores"]))
    lines = [
        f"| network | parameters | {' | '.join(f'Dice {name}' for name in sets)} | minutes |",
        f"|{'---|' * (len(sets) + 3)}",
    ]
    for name in [row.name for row in ROWS if row.name in rows]:
        row = rows[name]
        cells = [name, f"{row['parameters']:,}"]
        for set_name in sets:
            scores = row["scores"].get(set_name)
            low, high = scores["interval"] if scores else (0.0, 0.0)
            cells.append(f"{scores['dice']:.3f} ({low:.3f} to {high:.3f})" if scores else "")
        lines.append(f"| {' | '.join([*cells, format(row['minutes'], '.0f')])} |")
    if rows:
        budget = found["settings"]
        lines += [
            "",
            f"{budget['epochs']} epochs at {budget['size']} pixels, batch {budget['batch']}, loss "
            f"`{budget['loss']}`, seed {budget['seed']}. {_machines(rows)}.",
        ]
    return "\n".join(lines) + "\n"


def _machines(rows: dict[str, Any]) -> str:
    """Return where the rows were made; names the rows if it was not the same for all."""
    names: dict[str, list[str]] = {}
    for name in [row.name for row in ROWS if row.name in rows]:
        made = rows[name]
        place = f"{made['cores']} cores of {made['machine']}, {made['date']}"
        names.setdefault(place, []).append(f"`{name}`")
    if len(names) == 1:
        return next(iter(names))
    return "; ".join(f"{', '.join(own)}: {place}" for place, own in names.items())


def _is_installed(row: Row) -> bool:
    """Return whether a row can be trained here; if not, say so."""
    if row.network not in PEERS:
        return True
    try:
        make_peer(row.network)
    except UserError as error:
        log.warning("%s: left out: %s", row.name, error)
        return False
    return True


def _settings(row: Row, base: TrainSettings, output: Path) -> TrainSettings:
    folder = output / row.name.replace(",", "").replace(" ", "-")
    return base.model_copy(
        update={"network": row.network, "imagenet": row.imagenet, "output": str(folder)}
    )


def _budget(settings: TrainSettings) -> dict[str, Any]:
    """Return the settings that all rows have in common, without paths."""
    return settings.model_dump(exclude={*NOT_IN_CARD, "network", "imagenet"})


def _without_folders(found: dict[str, Any]) -> dict[str, Any]:
    """Return a report without the folders of the data sets, which others do not have."""
    for row in found.get("rows", {}).values():
        for scores in row["scores"].values():
            scores.pop("of", None)
    return found


def _describe(row: Row, weights: Path) -> dict[str, Any]:
    """Return a row's entry without scores."""
    return {
        "network": row.network,
        "imagenet": row.imagenet,
        "parameters": read_card(weights.with_suffix(".json")).parameters,
        "minutes": round(sum(line["seconds"] for line in read_log(weights)) / 60, 1),
    }


def _where_trained(before: dict[str, Any], weights: Path) -> dict[str, Any]:
    """Return machine, cores and date of a row: those of its entry, if it is of these weights.

    A finished row may be scored on a further set elsewhere, or later.
    """
    here = measured_here()
    digests = {scores.get("sha256") for scores in before.get("scores", {}).values()}
    if digests != {sha256(weights)}:
        return here
    return {name: before.get(name, value) for name, value in here.items()}
