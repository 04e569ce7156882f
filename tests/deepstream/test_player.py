"""The player's own rules; whole runs are in tests/integration."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from deepstream.gstreamer import Gst
from deepstream.io.live_source import ENDED
from deepstream.player import WATCHDOG_STALL_S, Ending, _Player
from deepstream.statistics import RunStatistics


def test_ctrl_c_while_a_clip_starts_again_ends_the_run_as_usual() -> None:
    """Otherwise the run ended without an end of stream, and its file was lost."""

    def interrupted() -> None:
        raise KeyboardInterrupt

    pipeline, ended = Gst.Pipeline.new("graph"), []
    live = SimpleNamespace(repeats=True, arrived=0, settled=0, lost=0, restart=interrupted)
    source = SimpleNamespace(fps=25.0, is_live=True)
    graph: Any = SimpleNamespace(
        pipeline=pipeline, live=live, source=source, end=lambda *_: ended.append(True)
    )
    probes: Any = SimpleNamespace(statistics=RunStatistics())
    output: Any = SimpleNamespace(kind="none")
    player = _Player(graph, probes, output, None)
    message = Gst.Message.new_application(pipeline, Gst.Structure.new_empty(ENDED))
    pipeline.get_bus().post(message)
    assert not player._poll(None)
    assert (player.ending, ended) == (Ending.INTERRUPTED, [True])


def test_a_picture_that_stands_still_does_not_look_alive_because_its_source_delivers() -> None:
    """Otherwise the watchdog of systemd would never end a run whose screen hangs."""
    live = SimpleNamespace(repeats=False, arrived=10, settled=10, lost=0)
    source = SimpleNamespace(fps=25.0, is_live=True, display_name="camera")
    graph: Any = SimpleNamespace(pipeline=Gst.Pipeline.new("graph"), live=live, source=source)
    statistics = RunStatistics(frames=10)
    probes: Any = SimpleNamespace(statistics=statistics)
    output: Any = SimpleNamespace(kind="none")
    player = _Player(graph, probes, output, None)
    player.seen = 9
    bar: Any = SimpleNamespace(update=lambda _: None)
    player._check_progress(bar)
    assert player._works()
    player.progress_s -= player.stall_s + 1
    player.moved_s -= WATCHDOG_STALL_S + 1
    player._check_progress(bar)  # reconnects, which is tried again every 30 s
    assert player.disconnected
    assert player._works()
    live.arrived += 25
    player.disconnected = False  # frames arrive again, but none is shown
    player._check_progress(bar)
    assert not player._works()
