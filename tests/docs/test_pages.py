"""The pages: tables equal the stored results, commands and linked files exist, examples run."""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

from deepstream.bench.archive_report import as_markdown as archive_table
from deepstream.bench.device_report import as_markdown as device_table
from deepstream.bench.graph_report import as_markdown as graph_table
from tests.conftest import ROOT
from training.ablation import as_markdown as ablation_table
from training.bench.gpu_bench import gpu_table
from training.bench.network_report import as_markdown as runtimes_table
from training.bench.training_bench import as_markdown as training_table
from training.cross_validation import as_markdown as folds_table
from training.evaluation.reflexes import as_markdown as reflexes_table
from training.evaluation.score_table import as_markdown
from training.export.precision_table import as_markdown as precisions_table
from training.peer_comparison import as_markdown as peers_table
from xpnet.bench.faults.table import as_markdown as faults_table
from xpnet.bench.server_report import as_markdown as server_table
from xpnet.bench.server_report import comparison_table
from xpnet.bench.soak import as_lines as soak_lines
from xpnet.bench.steadiness import as_markdown as steadiness_table
from xpnet.card import Card, read_card
from xpnet.cli import build_parser, command_names, parse
from xpnet.commands.report_files import with_section
from xpnet.host.watchdog import INTERVAL_S, TIMEOUT_S
from xpnet.images import sample_frames
from xpnet.paths import DEMO_CLIP, MODEL_REPOSITORY, card_path

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted(
    path.relative_to(ROOT)
    for pattern in ("*.md", "docs/**/*.md", ".github/*.md")
    for path in ROOT.glob(pattern)
)


@pytest.fixture(scope="module")
def cards() -> list[Card]:
    return [read_card(path) for path in sorted((ROOT / "training" / "weights").glob("*.json"))]


def test_scores_page_is_up_to_date(cards: list[Card]) -> None:
    page = (ROOT / "docs" / "scores.md").read_text(encoding="utf-8")
    assert page.endswith(as_markdown(cards))


def test_ablation_page_is_up_to_date() -> None:
    page = (ROOT / "docs" / "ablation.md").read_text(encoding="utf-8")
    rows = json.loads((ROOT / "docs" / "data" / "ablation.json").read_text(encoding="utf-8"))
    assert page.endswith(ablation_table(rows))


def test_serving_speed_page_is_up_to_date() -> None:
    page = (ROOT / "docs" / "serving-speed.md").read_text(encoding="utf-8")
    found = {
        name: json.loads(
            (ROOT / "docs" / "data" / f"serving-{name}.json").read_text(encoding="utf-8")
        )
        for name in ("speed", "against")
    }
    assert page.endswith(server_table(found["speed"]))
    assert "\n".join(comparison_table(found["against"])) in page
    assert {row["model"] for row in found["speed"]["rows"]} == {
        "xpnet_frame",
        *(row["model"] for row in found["against"]["against"]),
    }


def test_performance_page_is_up_to_date() -> None:
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    for name, table in (("graph", graph_table), ("device", device_table)):
        path = ROOT / "docs" / "data" / f"performance-{name}.json"
        assert with_section(page, name, table(json.loads(path.read_text(encoding="utf-8")))) == page


def test_archive_page_is_up_to_date() -> None:
    page = (ROOT / "docs" / "archive.md").read_text(encoding="utf-8")
    found = json.loads((ROOT / "docs" / "data" / "archive.json").read_text(encoding="utf-8"))
    assert with_section(page, "archive", archive_table(found)) == page
    assert found["frames_that_differ"] == [0, 0]
    assert not found["resumed"]["done_again"]
    assert found["resumed"]["skipped"] == found["killed"]["done"]


def test_steadiness_page_is_up_to_date() -> None:
    page = (ROOT / "docs" / "steadiness.md").read_text(encoding="utf-8")
    found = json.loads((ROOT / "docs" / "data" / "steadiness-lite.json").read_text("utf-8"))
    assert steadiness_table(found) in page


def test_soak_and_faults_page_is_up_to_date() -> None:
    page = (ROOT / "docs" / "soak-and-faults.md").read_text(encoding="utf-8")
    soak = json.loads((ROOT / "docs" / "data" / "soak.json").read_text("utf-8"))
    faults = json.loads((ROOT / "docs" / "data" / "faults.json").read_text("utf-8"))
    assert "\n".join(soak_lines(soak)) in page
    assert faults_table(faults) in page


def test_engines_page_is_up_to_date() -> None:
    page = (ROOT / "docs" / "engines.md").read_text(encoding="utf-8")
    found = json.loads((ROOT / "docs" / "data" / "engines.json").read_text(encoding="utf-8"))
    assert runtimes_table(found) in page
    shipped = {row["network"]: row for row in found["rows"] if row["shipped"]}
    assert shipped.keys() == {"student", "lite"}
    for name, model in (("lite", "xpnet_lite"), ("student", "xpnet")):
        for precision in ("fp16", "int8"):
            file = ROOT / "triton_models" / model / "onnx" / f"{precision}.report.json"
            for scores in json.loads(file.read_text(encoding="utf-8"))["scores"].values():
                assert f"| {scores[precision]['dice']:.4f} |" in page, (name, precision)


def test_seconds_of_training_epochs_are_those_of_the_logs() -> None:
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+ \| `([\w-]+)` \| ([\d.]*) \| ([\d.]+) \|$", page, re.MULTILINE)
    assert len(rows) == 6
    for name, *seconds in rows:
        for day, expected in zip(("2026-11-26", "2026-11-27"), seconds, strict=True):
            log = ROOT / "docs" / "data" / "h100" / day / f"{name}.jsonl"
            if not expected:
                assert not log.exists()
                continue
            lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
            starts = [0, *(line["epoch"] for line in lines)]
            epochs = [
                line["seconds"] / (line["epoch"] - start)
                for line, start in zip(lines, starts, strict=False)
            ]
            assert f"{statistics.median(epochs):.1f}" == expected, (name, day)


def test_table_of_gpu_times_is_up_to_date() -> None:
    page = (ROOT / "docs" / "engines.md").read_text(encoding="utf-8")
    path = ROOT / "docs" / "data" / "gpu-networks.json"
    assert gpu_table(json.loads(path.read_text(encoding="utf-8"))) in page


def test_table_of_precisions_by_size_is_up_to_date() -> None:
    page = (ROOT / "docs" / "engines.md").read_text(encoding="utf-8")
    path = ROOT / "docs" / "data" / "precisions.json"
    reports = json.loads(path.read_text(encoding="utf-8"))
    assert precisions_table(reports) in page
    for report in reports:
        for scores in report["scores"].values():
            loss = scores["fp32"]["dice"] - scores[report["precision"]]["dice"]
            assert loss < 0.01, (report["model"], report["height"], report["precision"])


def test_readme_scores_equal_those_of_the_cards() -> None:
    row = re.search(
        r"^\| Dice on Kvasir-SEG, not used in training \| (\S+) \| (\S+) \|$", README, re.M
    )
    assert row is not None
    for found, model in zip(row.groups(), ("xpnet_lite", "xpnet"), strict=True):
        card = read_card(card_path(MODEL_REPOSITORY / f"{model}_onnx"))
        assert found == f"{card.scores['kvasir-seg']['dice']:.3f}"


def test_readme_library_example_draws_a_mask(tmp_path: Path) -> None:
    code = re.search(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    assert code is not None
    frame = sample_frames(DEMO_CLIP)[4]
    subprocess.run([sys.executable, "-c", code[1]], cwd=tmp_path, check=True)
    drawn = cv2.imread(str(tmp_path / "masks.png"))[..., ::-1]
    assert drawn.shape == frame.shape
    assert (drawn != frame).any()


def test_numbers_of_checked_places_are_those_of_the_table() -> None:
    page = (ROOT / "docs" / "checked-against.md").read_text(encoding="utf-8")
    found = re.search(r"(\d+) places checked, (\d+) wrong, (\d+) fixed", page)
    assert found is not None
    rows = re.findall(r"^\| (?!place|---)[^|]+\|[^|]+\|[^|]+\| ([^|]+) \|$", page, re.MULTILINE)
    wrong = [row for row in rows if row.startswith("wrong: ")]
    assert [int(number) for number in found.groups()] == [len(rows), len(wrong), len(wrong)]
    assert all(row.startswith(("right", "wrong: ")) for row in rows)
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py"))
    for row in wrong:
        name = re.search(r"\(`(test_\w+)`\)$", row)
        assert name is not None, row
        assert f"def {name[1]}(" in tests, name[1]


def test_tests_named_in_the_reports_exist() -> None:
    page = (ROOT / "docs" / "reports.md").read_text(encoding="utf-8")
    code = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "tests").rglob("test_*.py"))
    named = re.findall(r"`(?:test_\w+\.py::)?(test_\w+)`", page)
    assert len(named) >= 17
    assert [name for name in named if f"def {name}(" not in code] == []
    files = set(re.findall(r"test_\w+\.py", page))
    assert files <= {p.name for p in (ROOT / "tests").rglob("test_*.py")}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_linked_files_exist(page: Path) -> None:
    for link in re.findall(r"\]\(((?!https?:)[^)#]+)", (ROOT / page).read_text(encoding="utf-8")):
        assert (ROOT / page).parent.joinpath(link).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_commands_of_pages_exist(page: Path) -> None:
    """Every `xpnet ...` line of a console block starts with a command of the program."""
    names = command_names(build_parser())
    text = (ROOT / page).read_text(encoding="utf-8")
    for line in re.findall(r"^\$ (?:\S*/)?xpnet (.*)$", text, re.MULTILINE):
        words = line.split()
        assert words[0] in names or " ".join(words[:2]) in names or words[0] == "--help", line


def test_page_of_the_service_agrees_with_its_files() -> None:
    page = (ROOT / "docs" / "cart.md").read_text(encoding="utf-8")
    settings = (ROOT / "jetson" / "cart.conf").read_text(encoding="utf-8")
    names = re.findall(r"^#?([A-Z_]+)=", settings, re.MULTILINE)
    rows = re.findall(r"^\| (`[A-Z_`, ]+`) \|", page, re.MULTILINE)
    assert re.findall(r"`([A-Z_]+)`", " ".join(rows)) == names
    unit = (ROOT / "jetson" / "xpnet-cart.service").read_text(encoding="utf-8")
    assert "ReadWritePaths=-@ROOT@/build /dev/shm /tmp\n" in unit
    assert re.search(r"^RestartSec=(\d+)$", unit, re.M)[1] == "3"  # type: ignore[index]
    assert re.search(r"^TimeoutStopSec=(\d+)$", unit, re.M)[1] == "15"  # type: ignore[index]
    assert (TIMEOUT_S, INTERVAL_S) == (20, 2)
    options = re.search(r"^XPNET_OPTIONS=(.*)$", page, re.MULTILINE)
    assert options is not None
    assert parse(["run", "/dev/video0", "--output", "screen", *options[1].split()]).control


@pytest.mark.parametrize(
    ("page", "section", "data", "make"),
    [
        ("training.md", "training", "training-speed.json", training_table),
        ("training.md", "folds", "folds.json", folds_table),
        ("network-speed.md", "network", "network-speed.json", runtimes_table),
        ("network-speed.md", "larger", "network-speed-sizes.json", runtimes_table),
        ("network-speed.md", "peers", "peers.json", peers_table),
        ("network-speed-bf16.md", "network", "network-speed-bf16.json", runtimes_table),
        ("network-speed-bf16.md", "larger", "network-speed-bf16-sizes.json", runtimes_table),
        ("network-speed-bf16.md", "batches", "network-speed-batches.json", runtimes_table),
        ("performance.md", "streams", "performance-graph-streams.json", graph_table),
        ("steadiness.md", "reflexes", "reflexes.json", reflexes_table),
    ],
)
def test_section_of_a_benchmark_is_up_to_date(
    page: str, section: str, data: str, make: Callable[[Any], str]
) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    found = json.loads((ROOT / "docs" / "data" / data).read_text(encoding="utf-8"))
    assert with_section(text, section, make(found)) == text
