"""The player's own rules; whole runs are in tests/integration."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from deepstream.gstreamer import Gst
from deepstream.io.live_source import ENDED
from deepstream.player import Ending, _Player
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
