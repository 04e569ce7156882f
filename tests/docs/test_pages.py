"""The README's and the docs' figures are those of the cards, and their files are there."""

from __future__ import annotations

import json
import re

import pytest

from tests.conftest import ROOT
from training.ablation import as_markdown as ablation_table
from training.bench.network_bench import as_markdown as runtimes_table
from training.evaluation.score_table import as_markdown, short_table
from training.export.precision_table import as_markdown as precisions_table
from xpnet.bench.server_report import as_markdown as server_table
from xpnet.bench.server_report import comparison_table
from xpnet.card import Card, read_card

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def cards() -> list[Card]:
    return [read_card(path) for path in sorted((ROOT / "training" / "weights").glob("*.json"))]


def test_the_readmes_table_is_that_of_the_cards(cards: list[Card]) -> None:
    found = re.search(r"<!-- table -->\n(.*?)<!-- end of table -->", README, re.DOTALL)
    assert found is not None
    assert found[1].splitlines() == short_table(cards)


def test_the_page_of_all_scores_is_that_of_the_cards(cards: list[Card]) -> None:
    page = (ROOT / "docs" / "scores.md").read_text(encoding="utf-8")
    assert page.endswith(as_markdown(cards))


def test_the_page_of_the_ablation_is_that_of_its_results() -> None:
    page = (ROOT / "docs" / "ablation.md").read_text(encoding="utf-8")
    rows = json.loads((ROOT / "docs" / "data" / "ablation.json").read_text(encoding="utf-8"))
    assert page.endswith(ablation_table(rows))


def test_the_page_of_the_servers_speed_is_that_of_its_results() -> None:
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


def test_the_page_of_engines_is_that_of_its_results() -> None:
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


def test_the_table_of_other_sizes_is_that_of_their_reports() -> None:
    page = (ROOT / "docs" / "engines.md").read_text(encoding="utf-8")
    path = ROOT / "docs" / "data" / "precisions.json"
    reports = json.loads(path.read_text(encoding="utf-8"))
    assert precisions_table(reports) in page
    for report in reports:
        for scores in report["scores"].values():
            loss = scores["fp32"]["dice"] - scores[report["precision"]]["dice"]
            assert loss < 0.01, (report["model"], report["height"], report["precision"])


def test_the_readme_names_the_scores_of_both_models() -> None:
    row = re.search(r"^\| Dice on Kvasir-SEG, never trained on \| (\S+) \| (\S+) \|$", README, re.M)
    assert row is not None
    for found, model in zip(row.groups(), ("xpnet_lite", "xpnet"), strict=True):
        card = read_card(ROOT / "triton_models" / f"{model}_onnx" / "card.json")
        assert found == f"{card.scores['kvasir-seg']['dice']:.3f}"


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "docs/training.md",
        "docs/serving.md",
        "docs/engines.md",
        "docs/serving-speed.md",
        "docs/verification.md",
        "docs/running.md",
        "docs/deepstream.md",
        "docs/compatibility.md",
        "docs/where-it-ran.md",
        "docs/containers.md",
        "docs/jetson.md",
    ],
)
def test_linked_files_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\(((?!https?:)[^)#]+)\)", text)
    assert len(links) > 3 or page != "README.md"
    for link in links:
        assert (ROOT / page).parent.joinpath(link).exists(), link
