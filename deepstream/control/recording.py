"""What commands and the page, over HTTP, can ask of a run's recorder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from deepstream.control.preview import Preview
from deepstream.control.state import RunState
from deepstream.recording.recorder import Recorder
from xpnet.errors import UserError

ACTIONS = ("start", "stop", "keep", "still")


def act(values: Mapping[str, Any], state: RunState, preview: Preview) -> dict[str, Any]:
    """Do what was asked, and note it in the audit trail.

    Args:
        values: `{"action": NAME}` with one of ACTIONS.
        state: The state of the run.
        preview: Gives the still.

    Returns:
        The recorder's status; for a still with its file name as `still`.

    Raises:
        ValueError: There is no such action.
        UserError: There is no recorder, or the disk is full.
    """
    action = values.get("action")
    if set(values) != {"action"} or action not in ACTIONS:
        raise ValueError(f"expected an object with action: one of {', '.join(ACTIONS)}")
    recorder = state.recorder
    if recorder is None:
        raise UserError("nothing can be recorded: expected --record FOLDER at the start of the run")
    answer: dict[str, Any] = {}
    if action == "still":
        answer["still"] = _save_still(recorder, preview)
    else:
        actions: dict[str, Callable[[], None]] = {
            "start": recorder.start, "stop": recorder.stop, "keep": recorder.keep
        }  # fmt: skip
        actions[str(action)]()
    state.controls.note({"recorder": action}, "http")
    return {**recorder.status(), **answer}


def _save_still(recorder: Recorder, preview: Preview) -> str:
    png = preview.png()
    if png is None:
        raise UserError("no frame was shown within a second")
    return recorder.save_still(png)
