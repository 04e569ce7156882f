"""Training on a small data set: the loss falls, a resumed run ends with the same weights, wrong
input is rejected."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import one_line
from training import trainer as loop
from training.evaluation.scored_sets import read_log
from training.jobs import choose_precision, load_datasets, make_fabric, train
from training.methods.optimization import OptimizedNetwork
from training.models.networks import student
from training.models.weight_files import load_network, load_weights
from training.models.zoo import NETWORKS
from training.moving_average import MovingAverage
from training.training_log import TrainingLog
from xpnet.card import read_card
from xpnet.errors import UserError


def test_training_reduces_the_loss_and_writes_weights_card_log_and_curves(tiny) -> None:
    made = tiny(epochs=6, learning_rate=5e-3, data_name="discs", data_licence="none")
    weights = train(made)
    folder = weights.parent
    log = [json.loads(x) for x in (folder / "log.jsonl").read_text().splitlines()]
    assert log[-1]["loss"] < 0.8 * log[0]["loss"]
    assert {"epoch", "seconds", "val_dice", "val_iou"} <= log[0].keys()
    card = read_card(weights.with_suffix(".json"))
    assert (card.name, card.network, card.input.height) == ("xpnet", "student", 32)
    source = card.data[0]
    assert (source.name, source.licence, source.reference) == ("discs", "none", "not stated")
    assert source.frames == 8
    assert sum(t.numel() for k, t in load_file(weights).items() if "running" not in k
               and "num_batches" not in k) == 1_839_333  # fmt: skip
    last = read_card(folder / "last.json")
    assert (last.training["epoch"], (folder / "last.safetensors").is_file()) == (6, True)
    events = list((folder / "tensorboard").iterdir())
    assert len(events) == 1
    assert b"frame, truth, probability" in events[0].read_bytes()


@pytest.fixture(scope="module")
def two_teachers(discs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Weights of a teacher with the student's features, and of a teacher without them."""
    from tests.training.methods.test_distillation import quick_teachers

    return quick_teachers(discs, tmp_path_factory.mktemp("teachers"))


@pytest.mark.parametrize(
    ("job", "workers", "interrupt_at"),
    [("student", 0, 3), ("student", 1, 4), ("teacher2", 0, 3), ("distill_xpnet", 0, 3)],
)
def test_resumed_training_ends_with_the_same_weights(
    tiny, two_teachers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    job: str, workers: int, interrupt_at: int,
) -> None:  # fmt: skip
    """Each epoch has two steps: step 3 is inside the second epoch, step 4 is after its end."""
    more: dict[str, object] = {"checkpoint_minutes": 0.0}
    if job == "distill_xpnet":
        more |= {"teachers": two_teachers, "order": "random", "output_loss": 1.0}
        more |= {"adversarial_every": 2}
    train(tiny(job, output=str(tmp_path / "whole"), **more))

    killed = tiny(job, output=str(tmp_path / "killed"), workers=workers, **more)
    minimize = OptimizedNetwork.minimize
    calls = 0

    def interrupted_minimize(
        self: OptimizedNetwork, loss: torch.Tensor, what: str, pause: torch.Tensor | None = None
    ) -> None:
        nonlocal calls
        if what != "discriminator":
            if calls == interrupt_at:
                raise KeyboardInterrupt
            calls += 1
        minimize(self, loss, what)

    monkeypatch.setattr(OptimizedNetwork, "minimize", interrupted_minimize)
    with pytest.raises(KeyboardInterrupt):
        train(killed)
    monkeypatch.setattr(OptimizedNetwork, "minimize", minimize)
    train(killed)
    folders = [tmp_path / "whole", tmp_path / "killed"]
    states = [torch.load(folder / "checkpoint.pt", weights_only=True) for folder in folders]
    assert states[0]["step"] == states[1]["step"] == 6
    for part in ("method", "averaged"):
        assert_same(states[0][part], states[1][part], part)
    logs = [(folder / "log.jsonl").read_text().splitlines() for folder in folders]
    for ours, theirs in zip(*logs, strict=True):
        assert json.loads(ours)["loss"] == pytest.approx(json.loads(theirs)["loss"], abs=1e-7)


def test_half_a_line_of_the_log_does_not_stop_a_resume(tiny) -> None:
    weights = train(tiny(epochs=2))
    path = weights.parent / "log.jsonl"
    whole = path.read_text()
    path.write_text(whole + '{"epoch": 3, "sec')  # killed while it was written
    assert [row["epoch"] for row in read_log(weights)] == [1, 2]
    with TrainingLog(weights.parent, 1, enabled=True):
        assert path.read_text() == whole.splitlines(keepends=True)[0]


def test_moving_average_starts_with_the_weights_and_reaches_its_decay() -> None:
    network = torch.nn.BatchNorm1d(1)
    average = MovingAverage(network, decay=0.5)
    expected = None
    for step in range(8):
        network.weight.data.fill_(step)
        network.num_batches_tracked.fill_(step)
        average.update()
        decay = min(0.5, (1 + step) / (10 + step))
        expected = step if expected is None else decay * expected + (1 - decay) * step
        assert float(average.module.weight) == pytest.approx(expected)
    assert int(average.module.num_batches_tracked) == 7


def test_epochs_between_validations_are_counted(tiny) -> None:
    weights = train(tiny(epochs=5, validate_every=2))
    log = (weights.parent / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in log] == [2, 4, 5]


def assert_same(ours: object, theirs: object, where: str) -> None:
    if isinstance(ours, dict):
        assert isinstance(theirs, dict)
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert_same(ours[key], theirs[key], f"{where}.{key}")
    elif isinstance(ours, torch.Tensor):
        assert torch.equal(ours, theirs), where  # type: ignore[arg-type]
    elif isinstance(ours, list | tuple):
        assert isinstance(theirs, list | tuple)
        assert len(ours) == len(theirs), where
        for number, pair in enumerate(zip(ours, theirs, strict=True)):
            assert_same(*pair, f"{where}.{number}")
    elif isinstance(ours, float):
        assert ours == pytest.approx(theirs), where
    else:
        assert ours == theirs, where


@pytest.mark.parametrize("job", ["student", "teacher2", "distill xpnet_lite"])
def test_distributed_training_on_two_processes(
    discs: Path, tmp_path: Path, two_teachers: tuple[str, ...], job: str
) -> None:
    """Distributed on the CPU, through Fabric's own launcher, from the command line."""
    arguments = ["train", job]
    if job == "distill xpnet_lite":
        arguments = ["distill", "--model", "xpnet_lite", "adversarial_every=2"]
        arguments += [word for path in two_teachers for word in ("--teacher", path)]
    command = [
        sys.executable, "-m", "xpnet.cli", *arguments, f"data={discs}", "size=32",
        f"output={tmp_path / 'run'}", "epochs=2", "batch=2", "workers=0", "accelerator=cpu",
        "devices=2", "precision=32-true",
    ]  # fmt: skip
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    assert len((tmp_path / "run" / "log.jsonl").read_text().splitlines()) == 2
    state = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert state["step"] == 4  # 8 frames, 2 processes, 2 frames each a step, 2 epochs
    load_network(tmp_path / "run" / "weights.safetensors")
    assert result.stdout.splitlines() == [str(tmp_path / "run" / "weights.safetensors")]


def on_two_machines(
    discs: Path, outputs: tuple[Path, Path], epochs: int
) -> list[subprocess.CompletedProcess[str]]:
    """Train with nodes=2: the command is started twice, on one machine instead of two."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    started = []
    for rank, output in enumerate(outputs):
        command = [
            sys.executable, "-m", "xpnet.cli", "train", "student", f"data={discs}", "size=32",
            f"output={output}", f"epochs={epochs}", "batch=2", "workers=0", "accelerator=cpu",
            "nodes=2", "precision=32-true",
        ]  # fmt: skip
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "NODE_RANK": str(rank)}
        started.append(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             env={**os.environ, **place})
        )  # fmt: skip
    try:
        results = [(process, *process.communicate(timeout=150)) for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()
    return [subprocess.CompletedProcess(p.args, p.returncode, out, err) for p, out, err in results]


def test_training_on_two_machines_needs_a_folder_that_both_see(discs: Path, tmp_path: Path) -> None:
    shared = tmp_path / "run"
    for result in on_two_machines(discs, (shared, shared), epochs=1):
        assert result.returncode == 0, result.stderr
        assert result.stdout.splitlines() == [str(shared / "weights.safetensors")]
        assert "MEMBER: " in result.stderr
    state = torch.load(shared / "checkpoint.pt", weights_only=True)
    assert state["step"] == 2  # 8 frames, 2 processes, 2 frames each a step
    load_network(shared / "weights.safetensors")
    for result in on_two_machines(discs, (shared, tmp_path / "other"), epochs=1):
        assert "would resume after steps 2, 0: expected an output folder" in one_line(result)


def test_error_on_two_processes_is_printed_once(discs: Path, tmp_path: Path, xpnet) -> None:
    call = ("train", "student", f"data={discs}", f"output={tmp_path / 'run'}", "size=32",
            "workers=0", "accelerator=cpu", "devices=2", "batch=2", "learning_rate=10")  # fmt: skip
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint.pt").write_bytes(b"no checkpoint")
    assert "not a checkpoint" in one_line(xpnet(*call))


def test_nan_loss_stops_and_reports_step_and_checkpoint(
    tiny, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = tiny(output=str(tmp_path / "run"))
    minimize, calls = OptimizedNetwork.minimize, 0

    def minimize_nan(
        self: OptimizedNetwork, loss: torch.Tensor, what: str, pause: torch.Tensor | None = None
    ) -> None:
        nonlocal calls
        calls += 1
        minimize(self, loss * float("nan") if calls == 4 else loss, what)

    monkeypatch.setattr(OptimizedNetwork, "minimize", minimize_nan)
    with pytest.raises(UserError, match=r"loss is nan at step 2 of 2 in epoch 2; .*checkpoint\.pt"):
        train(made)
    state = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert state["step"] == 2
    assert all(v.isfinite().all() for v in state["method"]["module"].values())


def test_full_disk_leaves_the_existing_checkpoint(
    tiny, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = tiny(output=str(tmp_path / "run"), epochs=1)
    train(made)
    before = (tmp_path / "run" / "checkpoint.pt").read_bytes()

    def write_on_a_full_disk(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_on_a_full_disk)
    with pytest.raises(UserError, match=r"checkpoint\.pt: cannot be written: No space left"):
        trainer_of(made)._write_checkpoint()
    assert (tmp_path / "run" / "checkpoint.pt").read_bytes() == before
    assert not list((tmp_path / "run").glob(".*part"))


def trainer_of(settings) -> loop.Trainer:
    from training.jobs import load_datasets, make_method

    fabric = make_fabric(settings)
    sets = load_datasets(settings)
    return loop.Trainer(
        fabric, settings, make_method(fabric, settings, NETWORKS[settings.network](), 2), *sets
    )


def test_checkpoint_of_other_settings_is_refused(tiny, tmp_path: Path) -> None:
    trainer_of(tiny(output=str(tmp_path)))._write_checkpoint()
    with pytest.raises(UserError, match=r"other settings \(learning_rate\)"):
        train(tiny(output=str(tmp_path), learning_rate=0.5))
    (tmp_path / "checkpoint.pt").write_bytes(b"no checkpoint")
    with pytest.raises(UserError, match=r"checkpoint\.pt: not a checkpoint"):
        train(tiny(output=str(tmp_path)))


def test_init_weights_are_loaded_and_recorded_in_the_card(tiny, tmp_path: Path) -> None:
    first = train(tiny(output=str(tmp_path / "first"), epochs=1))
    second = train(
        tiny(output=str(tmp_path / "second"), epochs=1, init=str(first), learning_rate=1e-9)
    )
    before = read_card(second.with_suffix(".json")).training["before"]
    assert before["epoch"] == 1
    ours, theirs = load_file(second), load_file(first)
    torch.testing.assert_close(ours["head.weight"], theirs["head.weight"], atol=1e-3, rtol=0)


def test_frames_of_a_second_data_set_are_trained_on_and_named_in_the_card(
    tiny, tmp_path: Path
) -> None:
    sequences = tmp_path / "negativeOnly"
    for number in (1, 14):  # of which the second is for testing
        (sequences / f"seq{number}_neg").mkdir(parents=True)
        for name in "abc":
            frame = np.full((64, 64, 3), 90, np.uint8)
            cv2.imwrite(str(sequences / f"seq{number}_neg" / f"{name}.png"), frame)
    about = {"more_data_name": "no polyps", "more_data_licence": "CC0", "epochs": 1}
    settings = tiny(more_data=str(sequences), **about)
    train_set, val_set = load_datasets(settings)
    assert (len(train_set), len(val_set)) == (8 + 3, 4)
    assert not any(mask.any() for _, mask in train_set.samples[8:])
    card = read_card(train(settings).with_suffix(".json"))
    named = [(d.name, d.frames, d.licence) for d in card.data]
    assert named == [("not stated", 8, "not stated"), ("no polyps", 3, "CC0")]
    (sequences / "seq1_neg" / "c.png").unlink()  # other frames: their path alone does not matter
    moved = sequences.rename(tmp_path / "moved")
    with pytest.raises(UserError, match="frames of the data"):
        train(tiny(more_data=str(moved), **about))


def test_weights_of_another_network_are_refused(tiny, tmp_path: Path) -> None:
    weights = train(tiny(epochs=1))
    with pytest.raises(UserError, match="not weights of this network"):
        load_weights(NETWORKS["teacher"](), weights)
    (tmp_path / "broken.safetensors").write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"broken\.safetensors: not a safetensors file"):
        load_weights(student(), tmp_path / "broken.safetensors")


def test_packed_weights_are_half_the_size_and_give_the_same_output(
    tiny, tmp_path: Path, xpnet
) -> None:
    weights = train(tiny(epochs=1))
    packed = xpnet("export", "pack", weights, "--output", tmp_path / "half.safetensors")
    assert packed.returncode == 0, packed.stderr
    line = one_line(
        xpnet("export", "pack", "none.safetensors", "--output", tmp_path / "x.safetensors")
    )
    assert "none.json: model card cannot be read" in line
    assert (tmp_path / "half.safetensors").stat().st_size < 0.51 * weights.stat().st_size
    network, card = load_network(tmp_path / "half.safetensors")
    assert card.training["stored_as"] == "float16"
    whole, _ = load_network(weights)
    frames = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(network(frames), whole(frames), atol=0.01, rtol=0)


def test_auto_precision_depends_on_the_cpu(tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    for flags, expected in (({"avx512_bf16"}, "bf16-mixed"), ({"avx2"}, "32-true")):
        monkeypatch.setattr("training.jobs.cpu_flags", lambda f=flags: f)
        assert choose_precision(tiny(precision="auto")) == expected
    assert choose_precision(tiny(precision="bf16-mixed")) == "bf16-mixed"


@pytest.mark.parametrize("job", ["student", "teacher2", "distill_xpnet"])
@pytest.mark.parametrize(
    ("precision", "expected"), [("bf16-mixed", torch.bfloat16), ("32-true", torch.float32)]
)
def test_network_computes_in_the_given_precision(
    tiny, two_teachers, monkeypatch: pytest.MonkeyPatch,
    job: str, precision: str, expected: torch.dtype,
) -> None:  # fmt: skip
    seen = set()
    forward = torch.nn.ConvTranspose2d.forward

    def spy(self, x: torch.Tensor, *rest: object) -> torch.Tensor:
        result = forward(self, x, *rest)
        seen.add(result.dtype)
        return result

    monkeypatch.setattr(torch.nn.ConvTranspose2d, "forward", spy)
    teachers = {"teachers": two_teachers} if job == "distill_xpnet" else {}
    weights = train(tiny(job, epochs=1, precision=precision, **teachers))
    assert seen == {expected}
    assert load_file(weights)["head.weight"].dtype == torch.float32


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_missing_device_is_reported(xpnet, discs: Path) -> None:
    result = xpnet("train", "student", f"data={discs}", "accelerator=cuda")
    assert "accelerator cuda, 1 devices" in one_line(result)


def test_one_frame_is_too_few_for_batch_norm(tiny, discs: Path, tmp_path: Path) -> None:
    """At 32 pixels the deepest layer of `lite` has one pixel; other networks learnt nothing."""
    data = shutil.copytree(discs, tmp_path / "set")
    (data / "index.csv").write_text("stem,split\n0,train\n8,val\n")
    for job in ("lite", "student"):
        with pytest.raises(UserError, match=r"1 training frames, expected at least 2 for each"):
            train(tiny(job, data=str(data)))
    (data / "index.csv").write_text("stem,split\n0,train\n1,train\n2,train\n8,val\n")
    assert train(tiny("lite", data=str(data), epochs=1, batch=2)).is_file()  # 2 + 1 frames


def test_missing_data_is_reported(xpnet, discs: Path, tmp_path: Path) -> None:
    call = ("train", "student", f"output={tmp_path / 'run'}", "accelerator=cpu")
    assert "none: no such folder" in one_line(xpnet(*call, "data=none"))
    (discs.parent / "only").mkdir(exist_ok=True)
    assert "no known layout" in one_line(xpnet(*call, f"data={discs.parent / 'only'}"))
