"""The player at the end of a run; whole runs are in tests/integration."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from deepstream.gstreamer import Gst
from deepstream.io.live_source import ENDED
from deepstream.player import Ending, _Player
from deepstream.statistics import RunStatistics


class Live:
    """A live source that counts how often it is started again."""

    repeats, arrived, lost, restarts = True, 0, 0, 0

    def restart(self) -> None:
        self.restarts += 1


@pytest.mark.parametrize(("ending", "restarts"), [(Ending.COMPLETE, 1), (Ending.INTERRUPTED, 0)])
def test_a_clip_is_not_played_again_when_the_run_ends(ending: Ending, restarts: int) -> None:
    """Frames behind the end of the stream were seen to end the process with SIGABRT."""
    pipeline, live = Gst.Pipeline.new("graph"), Live()
    source = SimpleNamespace(fps=25.0, is_live=True)
    graph: Any = SimpleNamespace(pipeline=pipeline, live=live, source=source)
    probes: Any = SimpleNamespace(statistics=RunStatistics())
    output: Any = SimpleNamespace(kind="none")
    player = _Player(graph, probes, output, None)
    player.ending = ending
    message = Gst.Message.new_application(pipeline, Gst.Structure.new_empty(ENDED))
    pipeline.get_bus().post(message)
    assert not player._poll(None)
    assert live.restarts == restarts
