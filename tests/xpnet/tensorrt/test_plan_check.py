"""A plan is served only if it belongs to the model and was built on this GPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import one_line
from tests.xpnet.tensorrt.conftest import MODEL
from xpnet.card import Card, read_card
from xpnet.errors import UserError
from xpnet.paths import card_path, plan_path
from xpnet.tensorrt import plan_check
from xpnet.tensorrt.plan_builder import PlanSettings
from xpnet.tensorrt.plan_check import check_plan


@pytest.fixture
def model_dir(settings_with_plan: PlanSettings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a model whose plan was built on this machine's GPU."""
    monkeypatch.setattr(plan_check, "describe_gpu", lambda _: {"gpu": "RTX 3070"})
    return settings_with_plan.repository / MODEL


def test_plan_of_this_machine_is_accepted(model_dir: Path) -> None:
    check_plan(model_dir)


@pytest.mark.parametrize(
    "change",
    [lambda card: replace(card, git_commit="another"), lambda card: card.at_size(384, 384)],
    ids=["weights", "size"],
)
def test_plan_of_another_export_is_rejected(
    model_dir: Path, change: Callable[[Card], Card]
) -> None:
    path = card_path(model_dir)
    change(read_card(path)).write(path)
    message = r"model\.plan: weights or input size differ .* again: xpnet build --model xpnet_lite"
    with pytest.raises(UserError, match=message):
        check_plan(model_dir)


def test_plan_of_another_gpu_is_rejected(model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_check, "describe_gpu", lambda _: {"gpu": "RTX 4060"})
    with pytest.raises(UserError, match="built on RTX 3070, this machine has RTX 4060; build the"):
        check_plan(model_dir)


def test_missing_gpu_is_not_an_error_of_the_plan_check(
    model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_driver(_target: str) -> dict[str, str]:
        raise UserError("no nvidia-smi")

    monkeypatch.setattr(plan_check, "describe_gpu", no_driver)
    check_plan(model_dir)


def test_plan_without_its_own_card_is_rejected(model_dir: Path, xpnet) -> None:
    message = "model.plan: the card.json beside it does not match this file; build the plan again"
    plan = plan_path(model_dir)
    plan.write_bytes(plan.read_bytes()[:-1])
    with pytest.raises(UserError, match=message):
        check_plan(model_dir)
    card_path(plan.parent).unlink()
    with pytest.raises(UserError, match=message):
        check_plan(model_dir)
    result = xpnet("serve", "--model", MODEL, "--repository", model_dir.parent)
    assert message in one_line(result)
