"""Training on an NVIDIA GPU; skipped on a machine without one."""

from __future__ import annotations

import json

import pytest
import torch

from tests.training.methods.test_distillation import quick_teachers
from training.jobs import train
from training.methods.optimization import OptimizedNetwork
from training.models.weight_files import load_network
from xpnet.card import read_card
from xpnet.errors import UserError

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU here"),
]


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed", "32-true"])
@pytest.mark.parametrize("job", ["student", "teacher2", "distill_xpnet", "distill_xpnet_lite"])
def test_every_job_trains_in_every_precision(
    tiny, discs, tmp_path, job: str, precision: str
) -> None:
    more = {"accelerator": "cuda", "precision": precision, "size": 64, "epochs": 2}
    if job.startswith("distill"):
        more |= {"teachers": quick_teachers(discs, tmp_path), "output_loss": 1.0}
    weights = train(tiny(job, **more))
    card = read_card(weights.with_suffix(".json"))
    assert card.training["precision"] == precision
    network, _ = load_network(weights)
    assert torch.isfinite(network(torch.rand(1, 3, 64, 64))).all()


def test_finished_run_is_not_trained_again_on_the_gpu(tiny, tmp_path) -> None:
    made = tiny(accelerator="cuda", precision="16-mixed", output=str(tmp_path / "run"))
    weights = train(made)
    before = weights.stat().st_mtime_ns
    train(made)
    assert weights.stat().st_mtime_ns == before


@pytest.mark.parametrize("job", ["student", "distill_xpnet"])
def test_replayed_steps_give_the_losses_of_plain_ones(tiny, discs, tmp_path, job: str) -> None:
    more = {"accelerator": "cuda", "size": 64, "epochs": 6, "augment_on": "device"}
    if job == "distill_xpnet":
        more |= {"teachers": quick_teachers(discs, tmp_path)[:1]}
    losses = []
    for cuda_graphs in (False, True):
        made = tiny(job, output=str(tmp_path / f"{cuda_graphs}"), cuda_graphs=cuda_graphs, **more)
        log = (train(made).parent / "log.jsonl").read_text().splitlines()
        losses.append([json.loads(line)["loss"] for line in log])
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_loss_that_is_not_finite_stops_on_the_gpu(tiny, tmp_path, monkeypatch) -> None:
    minimize = OptimizedNetwork.minimize
    monkeypatch.setattr(
        OptimizedNetwork, "minimize",
        lambda self, loss, name, pause=None: minimize(self, loss * float("nan"), name, pause),
    )  # fmt: skip
    made = tiny(accelerator="cuda", output=str(tmp_path / "run"))
    with pytest.raises(UserError, match="loss or its gradient was not finite in 2 steps"):
        train(made)
