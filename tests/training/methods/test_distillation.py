"""The discriminators, the teachers' turns, and one step of each adversarial training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

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
    """Untrained weights with cards: of a teacher with the student's features, of one without."""
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


def test_the_hierarchical_discriminator_is_the_papers() -> None:
    """CAT-DC32-CAT-DC128-CAT-DC128-CAT-DC32-CAT-DC32-ENCONV, counted by hand."""
    net = HierarchicalDiscriminator()
    widths = [(4, 32), (32 + 32, 128), (128 + 128, 128), (128 + 128, 32), (32 + 32, 32), (32, 1)]
    expected = sum(9 * i * o + o for i, o in widths)
    assert sum(p.numel() for p in net.parameters()) == expected
    frames, maps = torch.rand(2, 3, 32, 48), torch.rand(2, 1, 32, 48)
    taps = student().logits_and_taps(frames)[1]
    assert net(frames, maps, taps).shape == (2, 1, 32, 48)
    assert net(frames, maps, None).shape == (2, 1, 32, 48)


def test_every_input_of_the_discriminator_reaches_its_scores() -> None:
    torch.manual_seed(1)
    net = HierarchicalDiscriminator()
    frames, maps = torch.rand(1, 3, 32, 32), torch.rand(1, 1, 32, 32)
    taps = student().logits_and_taps(frames)[1]
    scores = net(frames, maps, taps)
    assert not torch.allclose(net(frames, 1 - maps, taps), scores)
    for name in taps:
        changed = {**taps, name: torch.rand_like(taps[name])}
        assert not torch.allclose(net(frames, maps, changed), scores), name


def test_an_adapter_brings_other_features_into_the_papers_form() -> None:
    net = lite()
    _, taps = net.logits_and_taps(torch.rand(1, 3, 64, 96))
    adapted = TapAdapter(net.tap_channels)(taps, 64, 96)
    _, reference = teacher().logits_and_taps(torch.rand(1, 3, 64, 96))
    assert {k: v.shape for k, v in adapted.items()} == {k: v.shape for k, v in reference.items()}
    assert {k: v.shape[1] for k, v in adapted.items()} == TAP_CHANNELS


def test_the_teachers_turns() -> None:
    def turns(order: str, teachers: int) -> list[int]:
        return [select_real_teacher(order, teachers, step, 8, seed=1) for step in range(8)]

    assert turns("orderly", 2) == [0, 0, 0, 0, 0, 1, 0, 1]
    assert turns("alternate", 3) == [0, 1, 2, 0, 1, 2, 0, 1]
    drawn = turns("random", 2)
    assert set(drawn) == {0, 1}
    assert drawn == turns("random", 2)
    assert drawn != [select_real_teacher("random", 2, step, 8, seed=2) for step in range(8)]
    assert turns("orderly", 1) == [0] * 8


def test_teachers_stay_as_they_are_and_say_what_they_have(tiny, teachers: tuple[str, ...]) -> None:
    fabric = make_fabric(tiny())
    one, three = load_teachers(teachers, fabric)
    frames = torch.rand(2, 3, 32, 32)
    probabilities, taps = one.predict(frames, fabric)
    assert probabilities.shape == (2, 1, 32, 32)
    assert not probabilities.requires_grad
    assert 0 <= probabilities.min() <= probabilities.max() <= 1
    assert taps is not None
    assert {k: v.shape[1] for k, v in taps.items()} == TAP_CHANNELS
    assert three.predict(frames, fabric)[1] is None
    assert not any(p.requires_grad for p in one.network.parameters())
    with pytest.raises(UserError, match="no teacher given"):
        load_teachers((), fabric)
    with pytest.raises(UserError, match=r"none\.json: model card cannot be read"):
        load_teachers(("none.safetensors",), fabric)


def test_a_teacher_without_features_sees_small_frames_at_its_own_size(
    tiny, teachers: tuple[str, ...]
) -> None:
    fabric = make_fabric(tiny())
    first, third = load_teachers(teachers, fabric)
    seen: list[torch.Size] = []
    for teacher_ in (first, third):
        plain = teacher_.network.logits_and_taps
        object.__setattr__(
            teacher_.network, "logits_and_taps", lambda x, f=plain: (seen.append(x.shape), f(x))[1]
        )
    larger = [replace(t, card=t.card.at_size(64, 64)) for t in (first, third)]
    frames = torch.rand(2, 3, 32, 32)
    for teacher_ in larger:
        taught, _ = teacher_.predict(frames, fabric)
        assert taught.shape == (2, 1, 32, 32)
        assert 0 <= float(taught.min()) <= float(taught.max()) <= 1
    # The discriminator compares features place by place: the first must stay at the student's size.
    assert [tuple(s[-2:]) for s in seen] == [(32, 32), (64, 64)]
    assert third.predict(torch.rand(1, 3, 64, 64), fabric)[0].shape == (1, 1, 64, 64)
    assert seen[-1][-1] == 64  # its card says 32: larger frames stay as they are


def lesson_of(settings: TrainSettings):
    fabric = make_fabric(settings)
    torch.manual_seed(1)
    return make_method(fabric, settings, NETWORKS[settings.network](), 2)


def weights_of(lesson) -> dict[str, torch.Tensor]:
    """Return the weights of the trained network and of the discriminator."""
    trained = lesson.generator if hasattr(lesson, "generator") else lesson.student
    return {
        f"{part}.{key}": value.clone()
        for part, learner in (("trained", trained), ("discriminator", lesson.discriminator))
        for key, value in learner.plain.state_dict().items()
        if key.endswith("weight")
    }


@pytest.mark.parametrize("job", ["distill_xpnet", "distill_xpnet_lite"])
def test_student_and_discriminator_both_learn_from_a_step(
    tiny, teachers: tuple[str, ...], job: str
) -> None:
    lesson = lesson_of(tiny(job, teachers=teachers, order="alternate", output_loss=1.0))
    before = weights_of(lesson)
    fixed = [{k: v.clone() for k, v in t.network.state_dict().items()} for t in lesson.teachers]
    losses = lesson.step(0, torch.rand(4, 3, 32, 32), torch.ones(4, 1, 32, 32))
    assert losses.keys() == {"loss", "truth", "output", "adversarial", "discriminator"}
    expected = losses["truth"] + losses["output"] + 0.2 * losses["adversarial"]
    torch.testing.assert_close(losses["loss"], expected)
    after = weights_of(lesson)
    still = [k for k in before if torch.equal(before[k], after[k])]
    assert not still
    for was, teacher_now in zip(fixed, lesson.teachers, strict=True):
        for key, value in teacher_now.network.state_dict().items():
            assert torch.equal(value, was[key]), key


def test_without_features_the_discriminator_sees_only_the_map(
    tiny, teachers: tuple[str, ...]
) -> None:
    """The second teacher has no such features: the student's must not tell it from the teacher."""
    lesson = lesson_of(tiny("distill_xpnet", teachers=teachers[1:]))
    seen = []
    lesson.discriminator.plain.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[2]))
    lesson.step(0, torch.rand(4, 3, 32, 32), torch.ones(4, 1, 32, 32))
    assert seen == [None, None, None]


@pytest.mark.parametrize("order", ["orderly", "alternate"])
def test_the_discriminator_meets_every_teacher_however_seldom_it_is_asked(
    tiny, teachers: tuple[str, ...], order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lesson = lesson_of(
        tiny("distill_xpnet", teachers=teachers, order=order, adversarial_every=2, epochs=8)
    )
    met: list[tuple[int, int]] = []
    for number, one in enumerate(lesson.teachers):

        def predict(frames, fabric, number=number, one=one):
            met.append((step, number))
            return type(one).predict(one, frames, fabric)

        object.__setattr__(one, "predict", predict)
    for step in range(16):  # two steps an epoch
        lesson.step(step, torch.rand(2, 3, 32, 32), torch.ones(2, 1, 32, 32))
    judged = [number for step, number in met if step % 2 == 0]
    expected = {"orderly": [0, 0, 0, 0, 0, 1, 0, 1], "alternate": [0, 1] * 4}
    assert judged == expected[order]
    rate = lesson.discriminator.schedule.get_last_lr()[0]
    assert rate < 0.1 * 1e-4  # its own cycle ends with the training


def test_the_discriminator_rests_between_its_steps(tiny, teachers: tuple[str, ...]) -> None:
    lesson = lesson_of(tiny("distill_xpnet", teachers=teachers, adversarial_every=2))
    frames, masks = torch.rand(4, 3, 32, 32), torch.ones(4, 1, 32, 32)
    assert "discriminator" in lesson.step(0, frames, masks)
    assert lesson.step(1, frames, masks).keys() == {"loss", "truth"}


def test_pix2pix_follows_its_losses(tiny) -> None:
    lesson = lesson_of(tiny("teacher2"))
    before = weights_of(lesson)
    losses = lesson.step(0, torch.rand(4, 3, 64, 64), torch.ones(4, 1, 64, 64))
    expected = losses["adversarial"] + 100 * losses["l1"]
    torch.testing.assert_close(losses["loss"], expected)
    after = weights_of(lesson)
    assert not [k for k in before if torch.equal(before[k], after[k])]


def test_a_distillation_from_start_to_card(tiny, teachers: tuple[str, ...]) -> None:
    made = tiny("distill_xpnet_lite", teachers=teachers, epochs=1)
    assert isinstance(made, DistillSettings)
    from xpnet.card import read_card

    card = read_card(train(made).with_suffix(".json"))
    assert (card.name, card.network) == ("xpnet_lite", "lite")
    assert [t["network"] for t in card.training["teachers"]] == ["teacher", "teacher3"]
    assert card.training["settings"]["order"] == "orderly"
