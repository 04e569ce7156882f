"""No plan of other weights, of another GPU or of nobody knows what is served."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import one_line
from xpnet.card import Card, read_card
from xpnet.errors import UserError
from xpnet.tensorrt import plan_check
from xpnet.tensorrt.plan_builder import PlanSettings, build_plan
from xpnet.tensorrt.plan_check import check_plan


@pytest.fixture
def model(trtexec, settings: PlanSettings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model's folder with a plan, on the machine that built it."""
    trtexec()
    build_plan(settings)
    monkeypatch.setattr(plan_check, "describe_gpu", lambda _: {"gpu": "RTX 3070"})
    return settings.repository / "xpnet_lite"


def test_a_plan_of_this_machine_is_served(model: Path) -> None:
    check_plan(model)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda card: replace(card, git_commit="another"), "is of other weights or of another"),
        (lambda card: card.at_size(384, 384), "is of other weights or of another size than"),
    ],
    ids=["weights", "size"],
)
def test_a_model_that_was_exported_anew_needs_a_new_plan(
    model: Path, change: Callable[[Card], Card], said: str
) -> None:
    path = model / "card.json"
    change(read_card(path)).write(path)
    with pytest.raises(UserError, match=rf"model\.plan: {said} .*xpnet build --model xpnet_lite"):
        check_plan(model)


def test_a_plan_from_elsewhere_is_refused(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_check, "describe_gpu", lambda _: {"gpu": "RTX 4060"})
    with pytest.raises(UserError, match="was built on RTX 3070, this is RTX 4060; build it again"):
        check_plan(model)

    def no_driver(_target: str) -> dict[str, str]:
        raise UserError("no nvidia-smi")

    monkeypatch.setattr(plan_check, "describe_gpu", no_driver)
    check_plan(model)  # Triton itself says that there is no GPU


def test_a_plan_needs_its_own_card(model: Path, xpnet) -> None:
    plan = model / "1" / "model.plan"
    plan.write_bytes(plan.read_bytes()[:-1])
    wanted = r"model\.plan: the card\.json beside it is not of this file; build it again"
    with pytest.raises(UserError, match=wanted):
        check_plan(model)
    (model / "1" / "card.json").unlink()
    with pytest.raises(UserError, match=wanted):
        check_plan(model)
    said = one_line(xpnet("serve", "--model", "xpnet_lite", "--repository", model.parent))
    assert "model.plan: the card.json beside it is not of this file" in said
