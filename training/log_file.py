"""The lines of a training's log.jsonl; without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_log_file(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a log.jsonl, one for each validation.

    A process that is killed while it writes leaves half a line. Such a line is left out: its epoch
    has no checkpoint, and is trained again.

    Args:
        path: The file.
    """
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return [row for row in rows if isinstance(row, dict) and "epoch" in row]
