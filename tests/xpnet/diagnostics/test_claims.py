"""The table of claims: each stands where it says, and whatever a check does, a report follows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import ROOT, one_line
from xpnet.diagnostics.check_context import Site, Skipped
from xpnet.diagnostics.claims import CLAIMS, Claim
from xpnet.diagnostics.cpu_checks import _address
from xpnet.diagnostics.verification import outcome_of
from xpnet.diagnostics.verification_report import (
    as_dict,
    as_markdown,
    without_private,
    write_report,
)
from xpnet.errors import UserError


@pytest.mark.parametrize("claim", CLAIMS, ids=[claim.id for claim in CLAIMS])
def test_every_claim_stands_in_its_page(claim: Claim) -> None:
    page = " ".join((ROOT / claim.where).read_text(encoding="utf-8").split())
    assert claim.said in page
    assert claim.sentence
    assert claim.how


def test_no_claim_is_there_twice() -> None:
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS)
    assert len({claim.check for claim in CLAIMS}) == len(CLAIMS)


def broken(_: Site) -> tuple[bool, str]:
    raise RuntimeError("a mistake")


def refused(_: Site) -> tuple[bool, str]:
    raise UserError(f"{ROOT}/model.onnx: not | there")


def absent(_: Site) -> tuple[bool, str]:
    raise Skipped("no such device")


def test_every_end_of_a_check_is_in_the_report(tmp_path: Path) -> None:
    checks = {
        "held": lambda _: (True, "good"),
        "not": lambda _: (False, "0.5, expected 0.9"),
        "broken": broken,
        "refused": refused,
        "absent": absent,
    }
    site = Site(ROOT / "triton_models")
    try:
        outcomes = [
            outcome_of(replace(CLAIMS[0], id=name, check=check), site)
            for name, check in checks.items()
        ]
        site.figure("a net", 12.345, "ms", "a clock")
    finally:
        site.close()
    assert not site.folder.exists()
    found = as_dict({"machine": "m"}, outcomes, site.figures)
    assert [(c["id"], c["state"], c["found"]) for c in found["claims"]] == [
        ("held", "held", "good"),
        ("not", "not held", "0.5, expected 0.9"),
        ("broken", "not held", "RuntimeError: a mistake"),
        ("refused", "not held", "./model.onnx: not | there"),
        ("absent", "skipped", "no such device"),
    ]
    page = as_markdown(found)
    assert "of 5 claims 1 held, 3 did not, 1 could not be checked here" in page
    assert "| **not held** | ./model.onnx: not \\| there |" in page
    assert "| a net | 12.35 ms | a clock |" in page
    write_report(found, tmp_path / "r.md")
    assert (tmp_path / "r.md").read_text() == page
    assert json.loads((tmp_path / "r.json").read_text()) == found


def test_no_folder_of_a_user_gets_into_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    text = f"{ROOT}/a and /home/someone/b"
    assert without_private(text) == "./a and ~/b"


def test_addresses_of_the_kernel_are_read() -> None:
    for text, loopback in (
        ("0100007F", True),
        ("00000000", False),
        ("0000000000000000FFFF00000100007F", True),
        ("00000000000000000000000001000000", True),
        ("00000000000000000000000000000000", False),
    ):
        assert _address(bytes.fromhex(text)).is_loopback == loopback


def test_wrong_use_is_named(xpnet, tmp_path: Path) -> None:
    def line(*options: object) -> str:
        return one_line(xpnet("doctor", "verify", *options))

    assert "claim 'nosuch': expected some of reference-masks" in line("--only", "nosuch")
    assert "expected a name that ends in .md" in line("--output", tmp_path / "r.txt")
    assert "none does not exist" in line("--output", tmp_path / "none" / "r.md")
    assert "no such model repository" in line("--repository", tmp_path / "no")
    assert "holds no ONNX model" in line("--store-masks", "--repository", tmp_path)


def test_the_claims_are_listed(xpnet) -> None:
    result = xpnet("doctor", "verify", "--list")
    assert result.returncode == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == [c.id for c in CLAIMS]
