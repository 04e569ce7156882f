"""Discriminators, the order of the teachers, and one step of each adversarial training method."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch.nn.functional import binary_cross_entropy_with_logits

from training.captured_steps import CapturedSteps
from training.jobs import make_fabric, make_method, train
from training.methods.teachers import load_teachers, select_real_teacher
from training.models.discriminators import HierarchicalDiscriminator, TapAdapter
from training.models.networks import TAP_CHANNELS, student, teacher
from training.models.pretrained import lite
from training.models.weight_files import save_weights
from training.models.zoo import NETWORKS
from training.settings import DistillSettings, TrainSettings
from xpnet.card import new_card
from xpnet.errors import UserError


def quick_teachers(data: Path, folder: Path) -> tuple[str, ...]:
    """Write two untrained teachers with cards: with the student's features, and without."""
    paths = []
    for name in ("teacher", "teacher3"):
        torch.manual_seed(1)
        network = NETWORKS[name]()
        path = folder / f"{name}.safetensors"
        save_weights(network, path)
        count = sum(p.numel() for p in network.parameters())
        card = new_card(name, name, count, 32, licence="none", data=(), git_commit="none")
        card.write(path.with_suffix(".json"))
        paths.append(str(path))
    return tuple(paths)


@pytest.fixture(scope="module")
def teachers(discs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    return quick_teachers(discs, tmp_path_factory.mktemp("teachers"))


def test_discriminator_has_the_layers_of_the_paper() -> None:
    """CAT-DC32-CAT-DC128-CAT-DC128-CAT-DC32-CAT-DC32-ENCONV, counted by hand."""
    net = HierarchicalDiscriminator()
    widths = [(4, 32), (32 + 32, 128), (128 + 128, 128), (128 + 128, 32), (32 + 32, 32), (32, 1)]
    expected = sum(9 * i * o + o for i, o in widths)
    assert sum(p.numel() for p in net.parameters()) == expected
    frames, maps = torch.rand(2, 3, 32, 48), torch.rand(2, 1, 32, 48)
    taps = student().logits_and_taps(frames)[1]
    assert net(frames, maps, taps).shape == (2, 1, 32, 48)
    assert net(frames, maps, None).shape == (2, 1, 32, 48)


def test_discriminator_output_depends_on_every_input() -> None:
    torch.manual_seed(1)
    net = HierarchicalDiscriminator()
    frames, maps = torch.rand(1, 3, 32, 32), torch.rand(1, 1, 32, 32)
    taps = student().logits_and_taps(frames)[1]
    scores = net(frames, maps, taps)
    assert not torch.allclose(net(frames, 1 - maps, taps), scores)
    for name in taps:
        changed = {**taps, name: torch.rand_like(taps[name])}
        assert not torch.allclose(net(frames, maps, changed), scores), name


def test_adapter_output_has_the_shapes_of_the_teachers_features() -> None:
    net = lite()
    _, taps = net.logits_and_taps(torch.rand(1, 3, 64, 96))
    adapted = TapAdapter(net.tap_channels)(taps, 64, 96)
    _, reference = teacher().logits_and_taps(torch.rand(1, 3, 64, 96))
    assert {k: v.shape for k, v in adapted.items()} == {k: v.shape for k, v in reference.items()}
    assert {k: v.shape[1] for k, v in adapted.items()} == TAP_CHANNELS


def test_order_selects_the_real_teacher_of_each_step() -> None:
    def selected(order: str, teachers: int) -> list[int]:
        return [select_real_teacher(order, teachers, step, 8, seed=1) for step in range(8)]

    assert selected("orderly", 2) == [0, 0, 0, 0, 0, 1, 0, 1]
    assert selected("alternate", 3) == [0, 1, 2, 0, 1, 2, 0, 1]
    random_order = selected("random", 2)
    assert set(random_order) == {0, 1}
    assert random_order == selected("random", 2)
    assert random_order != [select_real_teacher("random", 2, step, 8, seed=2) for step in range(8)]
    assert selected("orderly", 1) == [0] * 8


def test_loaded_teachers_are_frozen_and_return_their_features(
    tiny, teachers: tuple[str, ...]
) -> None:
    fabric = make_fabric(tiny())
    with_features, without_features = load_teachers(teachers, fabric)
    frames = torch.rand(2, 3, 32, 32)
    probabilities, taps = with_features.predict(frames, fabric)
    assert probabilities.shape == (2, 1, 32, 32)
    assert not probabilities.requires_grad
    assert 0 <= probabilities.min() <= probabilities.max() <= 1
    assert taps is not None
    assert {k: v.shape[1] for k, v in taps.items()} == TAP_CHANNELS
    assert without_features.predict(frames, fabric)[1] is None
    assert not any(p.requires_grad for p in with_features.network.parameters())
    with pytest.raises(UserError, match="no teacher given"):
        load_teachers((), fabric)
    with pytest.raises(UserError, match=r"none\.json: model card cannot be read"):
        load_teachers(("none.safetensors",), fabric)


def test_teacher_without_features_gets_small_frames_at_its_own_size(
    tiny, teachers: tuple[str, ...]
) -> None:
    fabric = make_fabric(tiny())
    with_features, without_features = load_teachers(teachers, fabric)
    sizes: list[torch.Size] = []
    for teacher_ in (with_features, without_features):
        plain = teacher_.network.logits_and_taps
        object.__setattr__(
            teacher_.network, "logits_and_taps", lambda x, f=plain: (sizes.append(x.shape), f(x))[1]
        )
    larger = [replace(t, card=t.card.at_size(64, 64)) for t in (with_features, without_features)]
    frames = torch.rand(2, 3, 32, 32)
    for teacher_ in larger:
        probabilities, _ = teacher_.predict(frames, fabric)
        assert probabilities.shape == (2, 1, 32, 32)
        assert 0 <= float(probabilities.min()) <= float(probabilities.max()) <= 1
    # Features are compared at equal positions, so a teacher with features keeps the student's size.
    assert [tuple(s[-2:]) for s in sizes] == [(32, 32), (64, 64)]
    assert without_features.predict(torch.rand(1, 3, 64, 64), fabric)[0].shape == (1, 1, 64, 64)
    assert sizes[-1][-1] == 64  # its card says 32; larger frames are not scaled down


def make_training_method(settings: TrainSettings):
    fabric = make_fabric(settings)
    torch.manual_seed(1)
    return make_method(fabric, settings, NETWORKS[settings.network](), 2)


def take_step(method, step: int, frames: torch.Tensor, masks: torch.Tensor):
    return CapturedSteps(method, enabled=False).step(step, frames, masks)


def weights_of(method) -> dict[str, torch.Tensor]:
    """Return the weights of the trained network and of the discriminator."""
    trained = method.generator if hasattr(method, "generator") else method.student
    return {
        f"{part}.{key}": value.clone()
        for part, network in (("trained", trained), ("discriminator", method.discriminator))
        for key, value in network.plain.state_dict().items()
        if key.endswith("weight")
    }


@pytest.mark.parametrize("job", ["distill_xpnet", "distill_xpnet_lite"])
def test_step_updates_student_and_discriminator_but_not_the_teachers(
    tiny, teachers: tuple[str, ...], job: str
) -> None:
    method = make_training_method(tiny(job, teachers=teachers, order="alternate", output_loss=1.0))
    before = weights_of(method)
    fixed = [{k: v.clone() for k, v in t.network.state_dict().items()} for t in method.teachers]
    losses = take_step(method, 0, torch.rand(4, 3, 32, 32), torch.ones(4, 1, 32, 32))
    assert losses.keys() == {
        "loss", "truth", "output", "adversarial", "discriminator", "discriminator_accuracy"
    }  # fmt: skip
    expected = losses["truth"] + losses["output"] + 0.2 * losses["adversarial"]
    torch.testing.assert_close(losses["loss"], expected)
    after = weights_of(method)
    unchanged = [k for k in before if torch.equal(before[k], after[k])]
    assert not unchanged
    for before_step, teacher_ in zip(fixed, method.teachers, strict=True):
        for key, value in teacher_.network.state_dict().items():
            assert torch.equal(value, before_step[key]), key


def test_discriminator_gets_no_features_if_the_teacher_has_none(
    tiny, teachers: tuple[str, ...]
) -> None:
    """With features of the student only, the discriminator could tell it from the teacher."""
    method = make_training_method(tiny("distill_xpnet", teachers=teachers[1:]))
    features = []
    method.discriminator.plain.register_forward_pre_hook(
        lambda _, inputs: features.append(inputs[2])
    )
    take_step(method, 0, torch.rand(4, 3, 32, 32), torch.ones(4, 1, 32, 32))
    assert features == [None, None, None]


@pytest.mark.parametrize("order", ["orderly", "alternate"])
def test_every_teacher_is_used_if_the_discriminator_skips_steps(
    tiny, teachers: tuple[str, ...], order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = make_training_method(
        tiny("distill_xpnet", teachers=teachers, order=order, adversarial_every=2, epochs=8)
    )
    calls: list[tuple[int, int]] = []
    for number, teacher_ in enumerate(method.teachers):

        def predict(frames, fabric, number=number, teacher_=teacher_):
            calls.append((step, number))
            return type(teacher_).predict(teacher_, frames, fabric)

        object.__setattr__(teacher_, "predict", predict)
    for step in range(16):  # two steps an epoch
        take_step(method, step, torch.rand(2, 3, 32, 32), torch.ones(2, 1, 32, 32))
    used = [number for step, number in calls if step % 2 == 0]
    expected = {"orderly": [0, 0, 0, 0, 0, 1, 0, 1], "alternate": [0, 1] * 4}
    assert used == expected[order]
    rate = method.discriminator.schedule.get_last_lr()[0]
    assert rate < 0.1 * 1e-4  # its own cycle ends with the training


@pytest.mark.parametrize("polyps", [0, 1, 2])
def test_output_loss_does_not_teach_the_false_positives_of_a_teacher(
    polyps: int, tiny, teachers: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny("distill_xpnet", teachers=teachers, adversarial=0.0, output_loss=1.0)
    method = make_method(make_fabric(settings), settings, student(), 1)
    certain = torch.full((2, 1, 32, 32), 0.9)  # polyp everywhere
    monkeypatch.setattr(method, "_predict_teachers", lambda number, frames: (certain, None))
    frames, masks = torch.rand(2, 3, 32, 32), torch.zeros(2, 1, 32, 32)
    masks[:polyps, :, :8, :8] = 1
    with torch.no_grad():
        logits, _ = method.student.module(frames)
    target = certain.clone()
    target[polyps:] = 0
    expected = float(binary_cross_entropy_with_logits(logits, target))
    taught = float(method.compute(method.variant(0), frames, masks)["output"])
    assert taught == pytest.approx(expected, rel=1e-4)


def test_adversarial_every_skips_the_discriminator(tiny, teachers: tuple[str, ...]) -> None:
    method = make_training_method(tiny("distill_xpnet", teachers=teachers, adversarial_every=2))
    frames, masks = torch.rand(4, 3, 32, 32), torch.ones(4, 1, 32, 32)
    assert "discriminator" in take_step(method, 0, frames, masks)
    assert take_step(method, 1, frames, masks).keys() == {"loss", "truth"}


def test_pix2pix_step_updates_both_networks_by_the_sum_of_its_losses(tiny) -> None:
    method = make_training_method(tiny("teacher2"))
    before = weights_of(method)
    losses = take_step(method, 0, torch.rand(4, 3, 64, 64), torch.ones(4, 1, 64, 64))
    expected = losses["adversarial"] + 100 * losses["l1"]
    torch.testing.assert_close(losses["loss"], expected)
    after = weights_of(method)
    assert not [k for k in before if torch.equal(before[k], after[k])]


def test_distillation_writes_its_teachers_into_the_card(tiny, teachers: tuple[str, ...]) -> None:
    made = tiny("distill_xpnet_lite", teachers=teachers, epochs=1)
    assert isinstance(made, DistillSettings)
    from xpnet.card import read_card

    card = read_card(train(made).with_suffix(".json"))
    assert (card.name, card.network) == ("xpnet_lite", "lite")
    assert [t["network"] for t in card.training["teachers"]] == ["teacher", "teacher3"]
    assert card.training["settings"]["order"] == "orderly"


BALANCED = {
    "tap_norm": True, "spectral_norm": True, "r1": 1.0, "discriminator_noise": 0.1,
}  # fmt: skip


def test_balanced_discriminator_learns_and_reports_its_accuracy(
    tiny, teachers: tuple[str, ...]
) -> None:
    method = make_training_method(tiny("distill_xpnet", teachers=teachers[:1], **BALANCED))
    before = {k: v.clone() for k, v in method.discriminator.plain.named_parameters()}
    losses = take_step(method, 0, torch.rand(4, 3, 32, 32), torch.ones(4, 1, 32, 32))
    assert 0 <= float(losses["discriminator_accuracy"]) <= 1
    assert float(losses["gradient_penalty"]) > 0
    after = dict(method.discriminator.plain.named_parameters())
    assert any(not torch.equal(before[k], after[k]) for k in before)


def test_discriminator_pauses_above_its_accuracy(tiny, teachers: tuple[str, ...]) -> None:
    method = make_training_method(
        tiny("distill_xpnet", teachers=teachers[:1], discriminator_pause=0.6)
    )
    method._accuracy.fill_(0.99)
    before = {k: v.clone() for k, v in method.discriminator.plain.state_dict().items()}
    losses = take_step(method, 0, torch.rand(4, 3, 32, 32), torch.ones(4, 1, 32, 32))
    assert float(losses["discriminator_paused"]) == 1
    for key, value in method.discriminator.plain.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_normalised_features_hide_their_scale() -> None:
    torch.manual_seed(1)
    frames, maps = torch.rand(1, 3, 32, 32), torch.rand(1, 1, 32, 32)
    taps = student().logits_and_taps(frames)[1]
    scaled = {name: 3 * tap for name, tap in taps.items()}
    for tap_norm in (False, True):
        torch.manual_seed(2)
        network = HierarchicalDiscriminator(tap_norm)
        same = torch.allclose(network(frames, maps, taps), network(frames, maps, scaled), atol=1e-3)
        assert same is tap_norm


def test_mean_order_compares_with_the_mean_of_all_maps(tiny, teachers: tuple[str, ...]) -> None:
    method = make_training_method(
        tiny("distill_xpnet", teachers=teachers, order="mean", output_loss=1.0, adversarial=0.0)
    )
    frames = torch.rand(2, 3, 32, 32)
    maps = [t.predict(frames, method.fabric)[0] for t in method.teachers]
    mean, taps = method._predict_teachers(method.variant(0).teacher, frames)
    torch.testing.assert_close(mean, (maps[0] + maps[1]) / 2)
    assert taps is None


def test_pauses_follow_the_accuracy_of_all_processes(tiny, teachers: tuple[str, ...]) -> None:
    """The other process's discriminator is never right, so the mean is half of ours."""

    class WithAnother:
        world_size = 2

        def __init__(self, fabric: Fabric) -> None:
            self.fabric = fabric

        def __getattr__(self, name: str) -> Any:
            return getattr(self.fabric, name)

        def all_reduce(self, value: torch.Tensor, reduce_op: str) -> torch.Tensor:
            assert reduce_op == "mean"
            return value / 2

    settings = tiny("distill_xpnet", teachers=teachers[:1])
    frames, masks = torch.rand(2, 3, 32, 32), torch.ones(2, 1, 32, 32)
    found = []
    for wrap in (False, True):
        method = make_training_method(settings)
        if wrap:
            method.fabric = WithAnother(method.fabric)
        torch.manual_seed(2)
        parts = take_step(method, 0, frames, masks)
        found.append(float(parts["discriminator_accuracy"]))
    assert found[0] > 0
    assert found[1] == pytest.approx(found[0] / 2)
