"""The table of claims, the outcomes of checks and the report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import one_line
from xpnet.cli import parse
from xpnet.commands import doctor
from xpnet.diagnostics.check_context import CheckContext, CheckResult, CheckSkipped
from xpnet.diagnostics.claims import CLAIMS, Claim
from xpnet.diagnostics.listening_sockets import parse_kernel_address
from xpnet.diagnostics.verification import check_claim
from xpnet.diagnostics.verification_report import (
    as_dict,
    as_markdown,
    hide_user_folders,
    write_report,
)
from xpnet.errors import UserError
from xpnet.paths import ROOT


@pytest.fixture
def context() -> Iterator[CheckContext]:
    made = CheckContext()
    yield made
    made.close()


@pytest.mark.parametrize("claim", CLAIMS, ids=[claim.id for claim in CLAIMS])
def test_page_of_claim_exists(claim: Claim) -> None:
    assert (ROOT / claim.page).is_file()


def test_ids_and_checks_of_claims_are_unique() -> None:
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS)
    assert len({claim.check for claim in CLAIMS}) == len(CLAIMS)


def raise_bug(_: CheckContext) -> CheckResult:
    raise RuntimeError("a bug")


def raise_user_error(_: CheckContext) -> CheckResult:
    raise UserError(f"{ROOT}/model.onnx: not | found")


def skip(_: CheckContext) -> CheckResult:
    raise CheckSkipped("no such device")


def test_report_contains_every_kind_of_outcome(context: CheckContext, tmp_path: Path) -> None:
    checks = {
        "true": lambda _: (True, "good"),
        "false": lambda _: (False, "0.5, expected 0.9"),
        "bug": raise_bug,
        "user-error": raise_user_error,
        "skip": skip,
    }
    claims = [replace(CLAIMS[0], id=name, check=check) for name, check in checks.items()]
    outcomes = [check_claim(claim, context) for claim in claims]
    context.add_measured("a net", 12.345, "ms", "a clock")

    report = as_dict({"machine": "m"}, outcomes, context.measured)
    assert [(c["id"], c["state"], c["found"]) for c in report["claims"]] == [
        ("true", "passed", "good"),
        ("false", "failed", "0.5, expected 0.9"),
        ("bug", "failed", "RuntimeError: a bug"),
        ("user-error", "failed", "./model.onnx: not | found"),
        ("skip", "skipped", "no such device"),
    ]
    page = as_markdown(report)
    assert "5 claims: 1 passed, 3 failed, 1 skipped." in page
    assert "| **failed** | ./model.onnx: not \\| found |" in page
    assert "| a net | 12.35 ms | a clock |" in page
    write_report(report, tmp_path / "r.md")
    assert (tmp_path / "r.md").read_text() == page
    assert json.loads((tmp_path / "r.json").read_text()) == report


def test_close_removes_the_work_folder() -> None:
    context = CheckContext()
    (context.work_dir / "file").touch()
    context.close()
    assert not context.work_dir.exists()


def test_cached_error_is_raised_again_without_a_second_call(context: CheckContext) -> None:
    calls = []

    def compute() -> None:
        calls.append(1)
        raise UserError("no server")

    for _ in range(2):
        with pytest.raises(UserError, match="no server"):
            context.cached("server", compute)
    assert len(calls) == 1


def test_folders_of_the_user_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert hide_user_folders(f"{ROOT}/a and /home/someone/b") == "./a and ~/b"


@pytest.mark.parametrize(
    ("hexadecimal", "expected"),
    [
        ("0100007F", "127.0.0.1"),
        ("00000000", "0.0.0.0"),
        ("0000000000000000FFFF00000100007F", "127.0.0.1"),
        ("00000000000000000000000001000000", "::1"),
        ("00000000000000000000000000000000", "::"),
    ],
)
def test_addresses_from_proc_net_are_parsed(hexadecimal: str, expected: str) -> None:
    assert str(parse_kernel_address(bytes.fromhex(hexadecimal))) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--only", "nosuch"], "claim 'nosuch': expected some of reference-masks"),
        (["--output", "r.txt"], "expected a name that ends in .md"),
        (["--output", "none/r.md"], "none does not exist"),
        (["--repository", "no"], "no such model repository"),
        (["--store-masks", "--repository", "."], "contains no ONNX model"),
    ],
)
def test_wrong_use_gives_one_line(xpnet, tmp_path: Path, options: list[str], message: str) -> None:
    assert message in one_line(xpnet("doctor", "verify", *options, cwd=tmp_path))


def test_both_reports_are_checked_before_the_work(xpnet, tmp_path: Path) -> None:
    (tmp_path / "r.json").mkdir()
    result = xpnet("doctor", "verify", "--output", "r.md", cwd=tmp_path)
    assert "r.json: is a folder" in one_line(result)


def test_folder_of_the_example_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor, "BUILD", tmp_path / "build")
    words = ["doctor", "verify", "--output", "build/verification.md", "--only", "nosuch"]
    args = parse(words)
    with pytest.raises(UserError, match="claim 'nosuch'"):
        args.command(args)
    assert (tmp_path / "build").is_dir()


def test_list_prints_the_claims(xpnet) -> None:
    result = xpnet("doctor", "verify", "--list")
    assert result.returncode == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == [c.id for c in CLAIMS]
