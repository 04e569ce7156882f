"""`xpnet bench soak` for a few seconds, and its errors."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import one_line
from xpnet.bench import soak
from xpnet.bench.soak import SoakSettings, _report, failed
from xpnet.serving.cpu_runtimes import best_runtime


def test_short_soak(xpnet, short_clip: Path, tmp_path: Path) -> None:
    report_file, plot = tmp_path / "soak.json", tmp_path / "soak.png"
    result = xpnet("bench", "soak", "--minutes", "0.1", "--clip", short_clip, "--height", "240",
                   "--width", "320", "--backend", best_runtime(), "--json", report_file,
                   "--plot", plot)  # fmt: skip
    assert result.returncode == 0, result.stderr
    report = json.loads(report_file.read_text())
    assert report["frame_size"] == [240, 320]
    assert -1 <= report["frames_in"] - report["frames_shown"] <= 1  # one may be under way
    assert report["frames_shown"] > 100
    assert report["frames_lost"] == 0
    assert set(report["added_latency_ms"]) == {"p50", "p95", "p99"}
    assert len(report["samples"]) >= 2
    assert all(sample["rss_mib"] > 50 for sample in report["samples"])
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert "lost 0" in result.stdout


def test_run_that_cannot_start_gives_one_line(xpnet, tmp_path: Path) -> None:
    line = one_line(xpnet("bench", "soak", "--clip", tmp_path / "nothing.mp4"))
    assert "the run ended while starting" in line
    assert "nothing.mp4: no such file" in line
    assert "--minutes 0: expected more than 0" in one_line(xpnet("bench", "soak", "--minutes", 0))


def summary(**changes: object) -> dict[str, Any]:
    """Return the summary of a run of which only some fields count."""
    names = ("frame_size", "model", "backend", "ending", "reason", "fps", "frames_without_mask",
             "latency_ms", "mask_age_ms", "inference_ms", "server_restarts")  # fmt: skip
    counts = {"frames_in": 13, "frames": 10, "frames_lost": 2}
    return {**dict.fromkeys(names), **counts, **changes}


@pytest.mark.parametrize(
    ("ending", "lost", "wanted"),
    [("interrupted", 0, False), ("interrupted", 1, True), ("the graph failed", 0, True)],
)
def test_soak_fails_if_frames_are_lost_or_the_run_ends(
    ending: str, lost: int, wanted: bool
) -> None:
    report = _report(SoakSettings(), summary(ending=ending, frames_lost=lost), [], None)
    assert failed(report) is wanted


def test_minutes_of_a_run_that_ended_by_itself_are_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Ended:
        ended = True

        def stop(self) -> dict[str, Any]:
            return summary(ending="the graph failed")

    monkeypatch.setattr(soak, "live_run", lambda source, options: nullcontext(Ended()))
    report = soak.soak(SoakSettings(minutes=60))
    assert report["minutes"] < 60
    assert failed(report)


def test_memory_counts_after_the_first_twelfth() -> None:
    samples = [{"seconds": s, "rss_mib": m} for s, m in ((0, 10.0), (240, 90.0), (400, 93.5),
                                                        (700, 92.0))]  # fmt: skip
    report = _report(SoakSettings(minutes=12), summary(), samples, None)
    assert (report["frames_lost"], report["rss_growth_mib"]) == (2, 3.5)
