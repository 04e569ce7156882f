"""The checks of graph and models with their repository, without running a graph."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from xpnet.diagnostics import gpu_checks, graph_checks, model_checks
from xpnet.diagnostics.check_context import CheckContext
from xpnet.errors import UserError


@pytest.fixture
def context(tmp_path: Path) -> Iterator[CheckContext]:
    """A repository without models."""
    made = CheckContext(tmp_path)
    yield made
    made.close()


def test_every_run_uses_the_repository_and_one_that_ends_at_once_gives_its_reason(
    context: CheckContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[object, ...]] = []

    def start(*arguments: object) -> subprocess.Popen[str]:
        calls.append(arguments)
        code = "import sys; print('no such model', file=sys.stderr); sys.exit(3)"
        pipe = subprocess.PIPE
        return subprocess.Popen([sys.executable, "-c", code], stdout=pipe, stderr=pipe, text=True)

    monkeypatch.setattr(context, "start_xpnet", start)
    server = SimpleNamespace(grpc_url="127.0.0.1:1", kill=lambda: None)
    monkeypatch.setattr(graph_checks, "running_server", lambda _: nullcontext(server))
    for check in (
        graph_checks.check_graph_masks,
        graph_checks.check_clip_rate,
        graph_checks.check_video_after_server_loss,
    ):
        with pytest.raises(UserError, match=r"exit code 3: no such model"):
            check(context)
        position = calls[-1].index("--repository")
        assert calls[-1][position + 1] == context.repository
    assert len(calls) == 3


def test_repository_without_models_fails(
    context: CheckContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = model_checks.check_reference_masks(context)
    assert found == (False, "no model was compared, expected one or more")
    monkeypatch.setattr(context, "require_gpu", dict)
    passed, text = gpu_checks.check_plans(context)
    assert not passed
    assert "expected one or more" in text
