"""The choices of a run: changed by keys, commands and HTTP, saved, restored at the next start."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from deepstream.control.appearance import Appearance
from xpnet.errors import UserError
from xpnet.files import write_text

log = logging.getLogger("xpnet.control")

MAX_AUDIT_BYTES = 1_000_000
"""Size at which the audit trail starts a new file; one older file is kept."""


def default_settings_file() -> Path:
    """Return where the choices are saved: xpnet/overlay.json in the user's configuration folder."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "xpnet" / "overlay.json"


class Controls:
    """The current choices; every thread may read `appearance` at any time.

    Attributes:
        appearance: What is drawn now.
        file: Where the choices are saved; None saves nothing. The audit trail is beside it.
    """

    def __init__(self, appearance: Appearance, file: Path | None = None) -> None:
        self.appearance, self.file = appearance, file
        # Only what somebody chose is saved: the rest depends on the options of a run.
        self._chosen: dict[str, Any] = {}
        self._lock = threading.Lock()

    def restore(self) -> None:
        """Take the saved choices; a file that cannot be used is set aside with a warning."""
        if self.file is None or not self.file.exists():
            return
        try:
            values = json.loads(self.file.read_text(encoding="utf-8"))
            if not isinstance(values, dict):
                raise ValueError("expected an object")
            self.appearance = self.appearance.changed(values)
            self._chosen = values
        except (OSError, ValueError, UserError) as error:
            aside = self.file.with_suffix(".unusable.json")
            log.warning("%s: %s: default settings are used; it is now %s", self.file, error, aside)
            try:
                self.file.replace(aside)
            except OSError as failure:
                log.warning("%s: cannot be renamed: %s", self.file, failure.strerror)

    def change(self, values: Mapping[str, Any], source: str) -> Appearance:
        """Change choices, save them and note the change.

        Args:
            values: New values by the names of `Appearance.as_dict`.
            source: Who changed them: `key`, `http`.

        Raises:
            UserError: A name or a value is wrong; nothing changes.
        """
        with self._lock:
            before = self.appearance.as_dict()
            self.appearance = self.appearance.changed(values)
            after = self.appearance.as_dict()
            changes = {k: [before[k], after[k]] for k in after if before[k] != after[k]}
            if changes:
                self.note({"changes": changes}, source)
                self._chosen |= {name: after[name] for name in changes}
                self._save(self._chosen)
            return self.appearance

    def _save(self, values: dict[str, Any]) -> None:
        """Save the choices; on a failure they are valid until the end of the run."""
        if self.file is None:
            return
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            write_text(self.file, json.dumps(values, indent=2) + "\n")
        except (OSError, UserError) as error:
            log.warning("%s: the settings are not saved: %s", self.file, error)

    def note(self, what: Mapping[str, Any], source: str) -> None:
        """Append a line to the audit trail.

        Args:
            what: What was done, such as `{"recorder": "start"}`.
            source: Who did it: `key`, `http`.
        """
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        line = json.dumps({"time": now, "by": source, **what})
        log.info("audit: %s", line)
        if self.file is None:
            return
        trail = self.file.with_suffix(".audit.jsonl")
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            if trail.exists() and trail.stat().st_size > MAX_AUDIT_BYTES:
                trail.replace(trail.with_suffix(".old.jsonl"))
            with trail.open("a", encoding="utf-8") as stream:
                stream.write(line + "\n")
        except OSError as error:
            log.warning("%s: a change of settings is not recorded: %s", trail, error.strerror)
