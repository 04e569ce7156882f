"""Lines are written by a thread of their own; what fails there is said, and holds nothing up."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import pytest

from deepstream.probes import line_writer
from deepstream.probes.line_writer import LineWriter


class HungDisk(io.StringIO):
    """Blocks in `write` until `back` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.back = threading.Event()

    def write(self, text: str) -> int:
        self.back.wait(30)
        return super().write(text)


def test_all_lines_are_written_in_order(tmp_path: Path) -> None:
    lines = [f"{number}\n" for number in range(1000)]
    with (tmp_path / "o.txt").open("w") as stream, LineWriter(stream) as writer:
        for line in lines:
            writer.write(line)
    assert (tmp_path / "o.txt").read_text() == "".join(lines)


def test_a_disk_that_hangs_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_writer, "CLOSE_S", 0.1)
    disk = HungDisk()
    writer = LineWriter(disk)
    refused = []
    for _ in range(line_writer.MAX_WAITING + 10):
        try:
            writer.write("x")
        except OSError as error:
            refused.append(error.strerror)
    assert len(refused) in (9, 10)  # one line may be in the hands of the thread
    assert set(refused) == {"the disk is too slow"}
    with pytest.raises(OSError, match="too slow"), writer:
        pass
    disk.back.set()


def test_a_full_disk_is_said_at_the_next_line_and_at_the_end() -> None:
    full = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115  # text of it fails to close
    stream = io.TextIOWrapper(full, write_through=True)
    with pytest.raises(OSError, match="No space left"), LineWriter(stream) as writer:
        writer.write("one\n")
    with pytest.raises(OSError, match="No space left"):
        writer.write("two\n")
