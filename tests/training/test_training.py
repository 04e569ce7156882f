"""A real training on a tiny set: it learns, resumes exactly, and refuses what does not fit."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from training.settings import TrainSettings, read_settings
from training.supervised import Trainer, load_weights
from xpnet.card import read_card
from xpnet.errors import UserError


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures of a bright disc on noise, eight to train on."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(1)
    rows = ["stem,split"]
    for folder in ("images", "masks"):
        (root / folder).mkdir()
    for number in range(12):
        frame = rng.integers(0, 90, (64, 64, 3)).astype(np.uint8)
        mask = np.zeros((64, 64), np.uint8)
        cv2.circle(mask, tuple(rng.integers(20, 44, 2).tolist()), 14, 255, -1)
        frame[mask > 0] += 120
        cv2.imwrite(str(root / "images" / f"{number}.png"), frame)
        cv2.imwrite(str(root / "masks" / f"{number}.png"), mask)
        rows.append(f"{number},{'train' if number < 8 else 'val'}")
    (root / "index.csv").write_text("\n".join(rows))
    return root


def settings(data: Path, output: Path, **changes: object) -> TrainSettings:
    values = {"size": 32, "epochs": 3, "batch": 4, "workers": 0, "average": 0.5}
    return TrainSettings(data=str(data), output=str(output), **(values | changes))  # type: ignore[arg-type]


def test_learns_and_writes_weights_card_and_log(data: Path, tmp_path: Path) -> None:
    made = settings(
        data, tmp_path / "run", epochs=6, learning_rate=5e-3, data_name="discs", data_licence="none"
    )
    weights = Trainer(made).run()
    log = [json.loads(x) for x in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert log[-1]["loss"] < 0.8 * log[0]["loss"]
    card = read_card(weights.with_suffix(".json"))
    assert (card.network, card.parameters, card.input.height) == ("student", 1_839_333, 32)
    source = card.data[0]
    assert (source.name, source.licence, source.reference) == ("discs", "none", "not stated")
    assert source.frames == 8
    assert sum(t.numel() for k, t in load_file(weights).items() if "running" not in k
               and "num_batches" not in k) == 1_839_333  # fmt: skip


@pytest.mark.parametrize("workers", [0, 1])
def test_killed_and_resumed_ends_with_the_same_weights(
    data: Path, tmp_path: Path, workers: int
) -> None:
    whole = Trainer(settings(data, tmp_path / "whole"))
    whole.run()

    killed = Trainer(settings(data, tmp_path / "killed", workers=workers))
    train_epoch = killed.train_epoch

    def die_in_the_second() -> float:
        if killed.epoch == 1:
            raise KeyboardInterrupt
        return train_epoch()

    killed.train_epoch = die_in_the_second  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        killed.run()
    resumed = Trainer(settings(data, tmp_path / "killed", workers=workers))
    resumed.run()
    for ours, theirs in (
        (resumed.network.state_dict(), whole.network.state_dict()),
        (resumed.average.state_dict(), whole.average.state_dict()),
    ):
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert torch.equal(ours[key], theirs[key]), key


def test_checkpoint_of_other_settings_is_refused(data: Path, tmp_path: Path) -> None:
    Trainer(settings(data, tmp_path)).checkpoint()
    with pytest.raises(UserError, match=r"other settings \(learning_rate\)"):
        Trainer(settings(data, tmp_path, learning_rate=0.5)).resume()


def test_weights_of_another_network_are_refused(data: Path, tmp_path: Path) -> None:
    trainer = Trainer(settings(data, tmp_path, epochs=1))
    weights = trainer.run()
    teacher = Trainer(settings(data, tmp_path / "t", network="teacher"))
    with pytest.raises(UserError, match="not weights of this network"):
        load_weights(teacher.network, weights)
    (tmp_path / "broken.safetensors").write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"broken\.safetensors: not a safetensors file"):
        load_weights(trainer.network, tmp_path / "broken.safetensors")


def test_settings_from_yaml_and_command_line(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("size: 64\nlearning_rate: 1e-4\n")
    made = read_settings(file, ["epochs=2", "init="])
    assert (made.size, made.learning_rate, made.epochs, made.init) == (64, 1e-4, 2, "")
    with pytest.raises(UserError, match="unknown setting 'sise'; known: network, data"):
        read_settings(file, ["sise=3"])
    with pytest.raises(UserError, match="epochs is 'many', expected int"):
        read_settings(file, ["epochs=many"])
    with pytest.raises(UserError, match="expected key=value"):
        read_settings(file, ["epochs"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": "vgg"}, "known are unet, teacher, student"),
        ({"size": 50}, "multiple of 16"),
        ({"epochs": 0}, "epochs 0: expected at least 1"),
        ({"precision": "int3"}, "expected auto, float32 or bfloat16"),
    ],
)
def test_wrong_settings_are_named(
    data: Path, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        Trainer(settings(data, tmp_path, **changes))
