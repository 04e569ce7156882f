"""Shared memory between a Triton client and a server on the same machine."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpnet.addresses import is_loopback
from xpnet.card import Card
from xpnet.frames import ProbabilityMap

log = logging.getLogger("xpnet.serving")

FOLDER = Path("/dev/shm")
"""Where Linux keeps the regions of POSIX shared memory."""
NAME = re.compile(r"xpnet-(\d+)-[0-9a-f]{8}")
"""Name of a region, with the process id of its owner."""
TIMEOUT_S = 10.0
"""Timeout of a server's answer about a region."""
CLOSE_TIMEOUT_S = 1.0
"""The same when the client closes: the server may be gone."""


class SharedSlots:
    """One shared memory region, divided into slots of one input and one output each.

    Its owner holds a lock on the region, which ends with the process. So the next client can tell
    that a region was left over by a client that was killed, and release it.

    Args:
        card: Card of the model, with the sizes of the tensors.
        slots: Number of slots.
    """

    def __init__(self, card: Card, slots: int) -> None:
        from tritonclient.utils import shared_memory

        self._shm = shared_memory
        self._input_shape = (1, *card.input.shape[1:])
        self._output_shape = card.output.shape[2:]
        self.input_bytes = 4 * int(np.prod(self._input_shape))
        self.output_bytes = 4 * int(np.prod(self._output_shape))
        self._no_result = np.full(self._output_shape, np.nan, np.float32)
        self._slot_bytes = self.input_bytes + self.output_bytes
        self.name = f"xpnet-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self.size = slots * self._slot_bytes
        self._region = shared_memory.create_shared_memory_region(
            self.name, f"/{self.name}", self.size
        )
        self._lock = os.open(FOLDER / self.name, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_SH)

    @classmethod
    def create(cls, client: Any, card: Card, slots: int, url: str) -> SharedSlots | None:
        """Create and register a region; return None if server and client do not share memory."""
        if not is_loopback(url):
            return None
        memory = None
        try:
            memory = cls(card, slots)
            memory.register(client)
        except Exception as error:  # for example a server in a container of its own
            log.warning("Triton at %s cannot share memory (%s): sending by gRPC", url, error)
            if memory is not None:
                memory.close(client, idle=True)
            return None
        try:
            release_left_over(client)
        except Exception as error:  # it concerns other processes only
            log.debug("shared memory of other processes was not checked: %s", error)
        return memory

    def register(self, client: Any) -> None:
        """Register the region with the server, again if it is already known."""
        client.unregister_system_shared_memory(self.name, client_timeout=TIMEOUT_S)
        client.register_system_shared_memory(
            self.name, f"/{self.name}", self.size, client_timeout=TIMEOUT_S
        )

    def input_at(self, slot: int) -> int:
        """Return the offset of a slot's input in bytes."""
        return slot * self._slot_bytes

    def output_at(self, slot: int) -> int:
        """Return the offset of a slot's output in bytes."""
        return slot * self._slot_bytes + self.input_bytes

    def write(self, slot: int, tensor: NDArray[np.float32]) -> None:
        """Copy the input of one frame into its slot, and NaN where its result will be.

        A server that answers without a result must not leave the result of an earlier frame there.
        """
        self._shm.set_shared_memory_region(self._region, [tensor], self.input_at(slot))
        self._shm.set_shared_memory_region(self._region, [self._no_result], self.output_at(slot))

    def read(self, slot: int) -> ProbabilityMap:
        """Return a copy of the result in a slot."""
        view = self._shm.get_contents_as_numpy(
            self._region, np.float32, self._output_shape, self.output_at(slot)
        )
        return np.array(view, dtype=np.float32)

    def close(self, client: Any, idle: bool) -> None:
        """Release the region, on the server too if it answers.

        Unless `idle`, a result may still be written: then only the name is removed, and the memory
        is released with the process.
        """
        try:
            client.unregister_system_shared_memory(self.name, client_timeout=CLOSE_TIMEOUT_S)
        except Exception as error:
            log.debug("shared memory stays registered: %s", error)
        if idle:
            self._shm.destroy_shared_memory_region(self._region)
        else:
            (FOLDER / self.name).unlink(missing_ok=True)
        os.close(self._lock)


def release_left_over(client: Any) -> None:
    """Release the regions of clients that were killed: on the server, and on this machine.

    Call it only after a region of our own was registered: then the server sees the same regions as
    this process, so a name without a region has no owner.

    Args:
        client: A client of the server.
    """
    status = client.get_system_shared_memory_status(as_json=True, client_timeout=TIMEOUT_S)
    registered = set(status.get("regions", {}))
    present = {path.name for path in FOLDER.glob("xpnet-*")}
    for name in sorted(registered | present):
        owner = NAME.fullmatch(name)
        if owner is None or not _is_left_over(FOLDER / name, int(owner[1])):
            continue
        if name in registered:
            client.unregister_system_shared_memory(name, client_timeout=TIMEOUT_S)
        (FOLDER / name).unlink(missing_ok=True)
        log.debug("shared memory %s of a process that was killed: released", name)


def _is_left_over(region: Path, owner: int) -> bool:
    """Return whether no process uses a region.

    The owner may be in another container and its number unknown here, or reused, so the lock
    decides; the number protects a client that has not locked its region yet.
    """
    if Path("/proc", str(owner)).exists():
        return False
    try:
        lock = os.open(region, os.O_RDONLY)
    except FileNotFoundError:
        return True
    except OSError:  # of another user
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True
