"""`xpnet evaluate`, `table` and `panel` on real frames with the served models."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from deepstream.gstreamer import Gst
from deepstream.probes.video_frame import VideoFrame, read_format
from tests.conftest import ROOT, one_line
from training.data.readers import read_data_set
from training.evaluation.as_video import as_video
from training.evaluation.score_table import PAPER, as_json, as_markdown
from training.evaluation.scoring import (
    PEAKS,
    THRESHOLDS,
    ScoredFrames,
    as_lines,
    best_peak,
    best_threshold,
    by_peak,
    evaluate,
)
from xpnet.card import Card, read_card
from xpnet.frames import frame_to_tensor, probabilities_to_mask
from xpnet.paths import MODEL_REPOSITORY
from xpnet.serving.model_config import DEFAULT_MODEL
from xpnet.serving.onnx_inference import OnnxInference

ONNX = MODEL_REPOSITORY / DEFAULT_MODEL / "1" / "model.onnx"
WEIGHTS = ROOT / "training" / "weights"


@pytest.fixture(scope="module")
def data(frame_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real frames with the model's own masks as true masks, so that the correct score is 1."""
    root = tmp_path_factory.mktemp("own")
    (root / "masks").mkdir()
    (root / "images").symlink_to(frame_folder)
    inference = OnnxInference(ONNX)
    card = inference.card
    for path in sorted(frame_folder.iterdir())[:4]:
        frame = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        tensor = frame_to_tensor(frame, card.input.height, card.input.width)
        probabilities = inference.submit(tensor).result()
        height, width = frame.shape[:2]
        mask = probabilities_to_mask(probabilities, height, width, card.threshold, card.peak)
        cv2.imwrite(str(root / "masks" / path.name), mask * 255)
    inference.close()
    cv2.imwrite(str(root / "masks" / "unpaired.png"), np.zeros((8, 8), np.uint8))
    return root


def test_own_masks_score_one_and_unpaired_files_are_listed(
    xpnet, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "scores.json"
    result = xpnet("evaluate", "--data", data, "--json", out)
    assert result.returncode == 0, result.stderr
    scores = json.loads(out.read_text())
    assert scores["frames"] == 4
    assert scores["dice"] == scores["iou"] == scores["miou"] == scores["dice_total"] == 1
    assert scores["intervals"]["dice"] == [1, 1]
    polyps = scores["polyps"]["all"]
    assert polyps["found"] == polyps["polyps"] > 0
    assert polyps["false_areas"] == 0
    assert scores["without_image"] == ["unpaired"]
    assert len(scores["without_mask"]) == 4
    assert "1 masks without an image: unpaired" in result.stdout
    curves = scores["curves"]
    assert curves["threshold"] == list(THRESHOLDS)
    assert curves["recall"] == sorted(curves["recall"], reverse=True)
    assert curves["sensitivity"][0] == 1


def test_scores_are_the_same_without_curves(data: Path) -> None:
    found = {}
    for sweep in (True, False):
        inference = OnnxInference(ONNX)
        found[sweep] = evaluate(inference, read_data_set(data), None, sweep=sweep)[0]
        inference.close()
    assert found[True].pop("curves")
    assert found[True] == found[False]


def test_frames_as_video_score_nearly_the_same(xpnet, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.json"
    result = xpnet("evaluate", "--data", data, "--as-video", "--json", out)
    assert result.returncode == 0, result.stderr
    scores = json.loads(out.read_text())
    # Over all pixels: a small area may come or go in one of the four frames.
    assert 0.9 < scores["dice_total"] < 1
    assert scores["as_video"] is True
    line = one_line(xpnet("bench", "device", "--scores", out))
    assert "scores.json: not the scores of `evaluate --json`: made with --as-video" in line


def test_scores_as_video_are_not_recorded_in_a_card(xpnet, data: Path, tmp_path: Path) -> None:
    result = xpnet(
        "evaluate", "--data", data, "--as-video", "--card", tmp_path / "c.json", "--name", "own"
    )
    assert result.returncode == 2
    assert "--card with --as-video: expected one of them" in one_line(result)


@pytest.mark.parametrize("size", [(404, 720), (405, 719), (1080, 1920)])
def test_as_video_is_what_the_graph_makes_of_video(
    frames: list[np.ndarray], size: tuple[int, int]
) -> None:
    frame = cv2.resize(frames[2], size[::-1], interpolation=cv2.INTER_CUBIC)
    found = as_video(frame, 256, 256).astype(int)
    height, width = (-(-side // 2) * 2 for side in size)
    even = cv2.copyMakeBorder(frame, 0, height - size[0], 0, width - size[1], cv2.BORDER_REPLICATE)
    memory = cv2.cvtColor(even, cv2.COLOR_RGB2YUV_I420)
    caps = f"video/x-raw,format=I420,height={height},width={width},colorimetry=bt601"
    form = read_format(Gst.Caps.from_string(f"{caps},framerate=25/1"))
    chroma = memory[height:].reshape(2, height // 2, width // 2)
    picture = VideoFrame(form, [memory[:height], *chroma])
    assert np.abs(picture.scaled_rgb(256, 256).astype(int) - found).max() <= 1


def test_inverted_masks_score_zero(xpnet, data: Path, tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    (tmp_path / "images").symlink_to(data / "images")
    for path in data.glob("masks/0*.png"):
        inverse = 255 - cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        cv2.imwrite(str(tmp_path / "masks" / path.name), inverse)
    out = tmp_path / "scores.json"
    xpnet("evaluate", "--data", tmp_path, "--json", out)
    scores = json.loads(out.read_text())
    assert scores["dice"] == 0
    assert scores["polyps"]["all"]["found"] == 0
    assert scores["polyps"]["all"]["false_areas"] > 0


def test_weights_and_their_onnx_file_have_the_same_scores(
    xpnet, data: Path, tmp_path: Path
) -> None:
    found = []
    weights = (
        WEIGHTS / f"{read_card(MODEL_REPOSITORY / DEFAULT_MODEL / 'card.json').network}.safetensors"
    )
    for file in (weights, ONNX):
        assert xpnet("evaluate", "--data", data, "--file", file, "--json", tmp_path / "s.json"
                     ).returncode == 0  # fmt: skip
        found.append(json.loads((tmp_path / "s.json").read_text())["dice"])
    assert found[0] == pytest.approx(found[1], abs=1e-3)


def test_scores_are_recorded_in_the_card_of_these_weights_only(
    xpnet, data: Path, tmp_path: Path
) -> None:
    card = read_card(MODEL_REPOSITORY / DEFAULT_MODEL / "card.json")
    ours, other = tmp_path / "ours.json", tmp_path / "other.json"
    card.write(ours)
    replace(card, git_commit="another").write(other)
    call = ("evaluate", "--data", data, "--name", "own")
    assert xpnet(*call, "--card", ours).returncode == 0
    recorded = read_card(ours).scores["own"]
    assert recorded["dice"] == 1
    assert recorded["height"] == card.input.height
    assert "curves" not in recorded
    assert "is the card of other weights" in one_line(xpnet(*call, "--card", other))
    assert "model card cannot be read" in one_line(xpnet(*call, "--card", tmp_path / "no.json"))


def test_threshold_is_chosen_only_on_the_validation_split(
    xpnet, data: Path, tmp_path: Path
) -> None:
    call = ("evaluate", "--data", tmp_path, "--name", "own", "--card", tmp_path / "card.json")
    replace(read_card(MODEL_REPOSITORY / DEFAULT_MODEL / "card.json"), threshold=0.9).write(
        tmp_path / "card.json"
    )
    for folder in ("images", "masks"):
        (tmp_path / folder).symlink_to(data / folder)
    rows = [f"{p.stem},{'val' if i else 'test'}" for i, p in enumerate(data.glob("masks/0*.png"))]
    (tmp_path / "index.csv").write_text("\n".join(["stem,split", *rows]))
    assert "a test set must not choose it" in one_line(xpnet(*call, "--choose-threshold"))
    assert "a test set must not choose it" in one_line(
        xpnet(*call, "--choose-threshold", "--split", "test")
    )
    result = xpnet(*call, "--choose-threshold", "--split", "val")
    assert result.returncode == 0, result.stderr
    assert read_card(tmp_path / "card.json").threshold == 0.5


def test_peak_is_chosen_only_on_the_validation_split_and_by_itself(
    xpnet, data: Path, tmp_path: Path
) -> None:
    path = tmp_path / "card.json"
    replace(read_card(MODEL_REPOSITORY / DEFAULT_MODEL / "card.json"), peak=0.95).write(path)
    call = ("evaluate", "--data", tmp_path, "--name", "own", "--card", path, "--choose-peak")
    for folder in ("images", "masks"):
        (tmp_path / folder).symlink_to(data / folder)
    rows = [f"{p.stem},{'val' if i else 'test'}" for i, p in enumerate(data.glob("masks/0*.png"))]
    (tmp_path / "index.csv").write_text("\n".join(["stem,split", *rows]))
    assert "--choose-peak needs --card and --split val" in one_line(xpnet(*call, "--split", "test"))
    both = xpnet(*call, "--split", "val", "--choose-threshold")
    assert "--choose-threshold with --choose-peak: expected one" in one_line(both)
    result = xpnet(*call, "--split", "val")
    assert result.returncode == 0, result.stderr
    assert "card.json: peak 0.0; export again" in result.stdout
    # The model's own masks are the true ones: there is no false positive to remove.
    assert read_card(path).peak == 0


def test_scores_and_curves_are_made_with_the_peak_of_the_card(data: Path) -> None:
    """A peak that no area reaches removes all masks, at every threshold below it."""
    inference = OnnxInference(ONNX)
    inference.card = replace(inference.card, peak=np.nextafter(1, 0))
    scores, _ = evaluate(inference, read_data_set(data), None)
    inference.close()
    assert scores["polyps"]["all"]["found"] == scores["polyps"]["all"]["false_areas"] == 0
    assert scores["curves"]["recall"] == [0] * len(THRESHOLDS)


def test_chosen_peak_loses_few_polyps_and_is_the_lowest_of_the_best() -> None:
    """A false area of 0.62 in every frame, and polyps with the given highest probabilities."""

    def chosen(*polyps: float, false: float = 0.62) -> float:
        scored = ScoredFrames()
        for probability in polyps:
            true = np.zeros((32, 32), np.uint8)
            true[4:12, 4:12] = 1
            found = np.where(true > 0, np.float32(probability), np.float32(0.1))
            found[20:24, 20:24] = false
            scored.counts.append((0, 0, int(true.sum()), true.size))
            scored.add_peaks(
                true, lambda peak, p=found: probabilities_to_mask(p, 32, 32, 0.5, peak)
            )
        return best_peak(by_peak(scored))

    assert chosen(0.9, 0.97) == 0.65
    assert chosen(0.9, 0.63) == 0  # 0.65 would lose the second polyp, and lower ones remove nothing
    assert chosen(0.9, 0.3) == 0.65  # the second one was not found without a peak
    assert chosen(0.9, false=0.1) == 0
    assert chosen(0.9, 0.97, false=0.98) == 0
    assert chosen(*[0.9] * 49, 0.63) == 0.65  # 1 in 50 may be lost
    assert chosen(*[0.9] * 48, 0.63) == 0


def test_frames_without_a_polyp_are_counted_with_each_peak(data: Path) -> None:
    source = read_data_set(data)
    inference = OnnxInference(ONNX)
    scores, scored = evaluate(inference, source, None, sweep=False, peaks=True)
    inference.close()
    polyps = scores["polyps"]["all"]
    first, last = scores["by_peak"][0], scores["by_peak"][-1]
    assert (first["peak"], first["found"], last["peak"]) == (0, polyps["found"], 0.95)
    assert first["found"] >= last["found"] > 0
    # As if the second frame had no polyp, and a false area that the last three peaks remove.
    scored.counts[1] = (5, 0, 0, 100)
    scored.peaks[1] = [
        replace(found, false_positives=(0.05,) if number < len(PEAKS) - 3 else ())
        for number, found in enumerate(scored.peaks[1])
    ]
    marked = [row["empty_marked"] for row in by_peak(scored)]
    assert marked == [1] * (len(PEAKS) - 3) + [0] * 3
    lines = as_lines(scores)
    assert any(line.startswith("peak 0.95 ") and "are marked" in line for line in lines)


def test_cards_of_served_models_equal_those_of_the_weights() -> None:
    for folder in MODEL_REPOSITORY.glob("*/card.json"):
        served = read_card(folder)
        weights = read_card(WEIGHTS / f"{served.network}.json")
        sized = weights.at_size(served.input.height, served.input.width)
        assert replace(sized, graph=served.graph) == served


def test_threshold_changes_only_for_a_significant_gain() -> None:
    """Sixty frames with 0.7 on the polyp and, in the first `wrong` frames, 0.6 around it."""
    true = np.zeros((8, 8), np.uint8)
    true[2:6, 2:6] = 1

    def chosen(wrong: int) -> float:
        scored = ScoredFrames()
        for number in range(60):
            background = 0.6 if number < wrong else 0.1
            probabilities = np.where(true > 0, 0.7, background)
            scored.add(None, true, lambda t, p=probabilities: (p > t).astype(np.uint8), 0.5)
        return best_threshold(scored)

    assert chosen(wrong=60) == 0.6
    assert chosen(wrong=1) == 0.5


def test_options_that_require_each_other(xpnet, data: Path, tmp_path: Path) -> None:
    call = ("evaluate", "--data", data)
    assert "--card and --name require each other" in one_line(xpnet(*call, "--name", "x"))
    assert "no frame of split 'nosuch'" in one_line(xpnet(*call, "--split", "nosuch"))
    assert "none.onnx: no such ONNX file" in one_line(xpnet(*call, "--file", "none.onnx"))
    line = one_line(xpnet(*call, "--url", "127.0.0.1:1", "--file", ONNX))
    assert "--url 127.0.0.1:1 with --file" in line
    panel = ("evaluate", "panel", "--data", data, "--output", tmp_path / "p.png")
    line = one_line(xpnet(*panel, "--model", f"a={ONNX}", "--model", "a=other.onnx", "--worst", 1))
    assert "--model a=other.onnx: a second column 'a', expected another NAME" in line
    assert "--frame STEM" in one_line(xpnet(*panel, "--model", f"a={ONNX}"))
    assert "expected NAME=FILE" in one_line(xpnet(*panel, "--model", "a", "--worst", 1))
    line = one_line(xpnet(*panel, "--model", f"a={ONNX}", "--frame", "nosuch"))
    assert "no frame 'nosuch' among 4" in line
    line = one_line(xpnet("evaluate", "panel", "--data", data, "--output", tmp_path / "p.xyz",
                          "--model", f"a={ONNX}", "--worst", 1))  # fmt: skip
    assert "expected a name that ends in .png or .jpg" in line


@pytest.mark.parametrize("choice", [("--frame", "001", "--frame", "003"), ("--worst", "2")])
def test_panel_has_a_row_for_each_frame_and_a_column_for_each_model(
    xpnet, data: Path, tmp_path: Path, choice: tuple[str, ...]
) -> None:
    out = tmp_path / "panel.png"
    result = xpnet("evaluate", "panel", "--data", data, "--output", out, "--model", f"first={ONNX}",
                   "--model", f"second={ONNX}", *choice)  # fmt: skip
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert len(lines) == 2
    assert "Dice first 1.000, second 1.000" in lines[0]
    picture = cv2.imread(str(out))
    width = round(240 * 720 / 404)
    assert picture.shape == (34 + 2 * 240 + 6, 4 * width + 3 * 6, 3)
    frame, truth = picture[34:, :width], picture[34:, width + 6 : 2 * width + 6]
    assert not np.array_equal(frame, truth)


@pytest.fixture
def card() -> Card:
    score = {
        "frames": 10, "dice": 0.9, "iou": 0.8, "miou": 0.85, "dice_total": 0.91, "precision": 0.7,
        "recall": 0.6, "false_alarm": None, "intervals": {"dice": [0.88, 0.92]},
        "polyps": {"all": {"found": 9, "polyps": 12, "false_areas": 0.25}},
    }  # fmt: skip
    served = read_card(MODEL_REPOSITORY / DEFAULT_MODEL / "card.json")
    return replace(served, name="xpnet", network="student", scores={"kvasir-seg": score})


def test_table_has_the_papers_scores_and_ours(card: Card) -> None:
    pix2pix = {**card.training, "settings": {"l1": 100.0}}
    teacher2 = replace(card, network="teacher", training=pix2pix)
    lite = replace(card, network="lite")
    text = as_markdown([card, lite, teacher2])
    rows = [line for line in text.splitlines() if line.startswith("| teacher 2")]
    assert rows[0] == (
        "| teacher 2 (the same, pix2pix) | 0.871 / 0.884 | 0.803 / 0.798 | 0.900 / 0.800 |"
    )
    assert "0.900 (0.880-0.920)" in rows[1]
    assert "| 9 of 12 | 0.25 |" in rows[1]
    order = [line.split("|")[1].strip() for line in text.splitlines()[4:7]]
    assert order == [
        "teacher 2 (the same, pix2pix)",
        "`xpnet`, the paper's student",
        "`xpnet_lite`",
    ]
    found = as_json([card])
    assert found["paper"]["student"]["kvasir_dice"] == PAPER["student"][2] == 0.783
    assert found["ours"]["student"]["scores"] == card.scores


def test_set_without_polyps_has_a_table_of_marked_frames_only(card: Card) -> None:
    score = {
        "frames": 40, "dice": 0.9, "iou": 0.9, "recall_frames": 0, "false_alarm": 0.1,
        "intervals": {"false_alarm": [0.05, 0.2]}, "polyps": {"all": {"false_areas": 0.15}},
    }  # fmt: skip
    text = as_markdown([replace(card, scores={**card.scores, "polypgen-negative": score})])
    rows = [line for line in text.splitlines() if line.startswith("| `xpnet`")]
    assert rows[0].count("|") == as_markdown([card]).splitlines()[2].count("|")
    assert rows[-1].endswith("| 4 of 40 | 0.100 (0.050-0.200) | 0.15 |")


def test_table_from_the_command_line(xpnet, card: Card, tmp_path: Path) -> None:
    card.write(tmp_path / "card.json")
    out = tmp_path / "table.md"
    result = xpnet(
        "evaluate", "table", tmp_path / "card.json", "--output", out, "--json", tmp_path / "t.json"
    )
    assert result.returncode == 0, result.stderr
    assert out.read_text() == as_markdown([card])
    assert "none.json: model card" in one_line(xpnet("evaluate", "table", tmp_path / "none.json"))


def test_curves_of_several_models_are_drawn_in_one_plot(xpnet, data: Path, tmp_path: Path) -> None:
    scores = tmp_path / "first.json"
    assert xpnet("evaluate", "--data", data, "--json", scores).returncode == 0
    (tmp_path / "second.json").write_text(scores.read_text())
    out = tmp_path / "curves.svg"
    result = xpnet("evaluate", "curves", scores, tmp_path / "second.json", "--output", out)
    assert result.returncode == 0, result.stderr
    assert b"<svg" in out.read_bytes()[:1000]
    (tmp_path / "old.json").write_text("{}")
    call = ("evaluate", "curves", tmp_path / "old.json", "--output", out)
    assert "old: no curves in it" in one_line(xpnet(*call))
    assert "none.json: not the scores" in one_line(
        xpnet("evaluate", "curves", "none.json", "--output", out)
    )
    line = one_line(xpnet("evaluate", "curves", scores, "--output", tmp_path / "c.bmp"))
    assert "expected a name that ends in .png, .svg or .pdf" in line
