"""Inference through a Triton server by gRPC, with tensors in shared memory on the same machine."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpnet.card import Card
from xpnet.frames import ProbabilityMap
from xpnet.inference import IN_FLIGHT, InferenceError, check_probabilities
from xpnet.serving.shared_slots import SharedSlots
from xpnet.serving.triton_connection import check_model, connect

log = logging.getLogger("xpnet.serving")

TIMEOUT_S = 10.0
"""A result that takes longer counts as lost."""
RETRY_S = 1.0
"""Interval between attempts to reach a lost server."""
AVAILABLE_AGAIN = "is available again"
"""End of the log message about a server that answers after a failure."""


class TritonInference:
    """One model of a running server; frames pass without masks while the server is unreachable.

    Tensors are passed in shared memory if server and client share a machine, else inside the gRPC
    message. After a failure every `submit` fails at once until the server answers again; a
    background thread tries once a second.

    Args:
        url: HOST:PORT of the gRPC service.
        model: Name of the model.
        card: The model's card.
        slots: Frames in flight at a time.

    Raises:
        UserError: tritonclient is missing, no server answers, or the model is not ready or does not
            match the card.

    Attributes:
        outages: How often the server stopped answering; further frames without a mask do not count.
    """

    def __init__(self, url: str, model: str, card: Card, slots: int = IN_FLIGHT) -> None:
        self._client = connect(url)
        from tritonclient import grpc

        self._grpc = grpc
        self.card, self.url, self.model = card, url, model
        check_model(self._client, url, model, card)
        self._memory = SharedSlots.create(self._client, card, slots, url)
        self._slots: SimpleQueue[int] = SimpleQueue()
        self._slot_count = slots
        for slot in range(slots):
            self._slots.put(slot)
        self._lock = threading.Lock()
        self.outages, self._failed_at = 0, 0.0
        self._failure = ""  # why the server counts as unreachable; empty while it answers
        self._looked, self._looking = 0.0, False
        self._closed = False

    def submit(self, tensor: NDArray[np.float32]) -> Future[ProbabilityMap]:
        """Submit a tensor, see `Inference`; blocks while all slots are in flight."""
        future: Future[ProbabilityMap] = Future()
        if self._failure:
            self._poll_server()
            future.set_exception(InferenceError(self._failure))
            return future
        try:
            slot = self._slots.get(timeout=TIMEOUT_S)
        except Empty:
            self.abandon(f"no answer within {TIMEOUT_S:g} s")
            future.set_exception(InferenceError(self._failure))
            return future
        try:
            self._send(tensor, slot, future)
        except Exception as error:
            self._slots.put(slot)
            self.abandon(str(error))
            future.set_exception(InferenceError(self._failure))
        return future

    def abandon(self, reason: str) -> None:
        """See `Inference`."""
        with self._lock:
            if not self._failure and not self._closed:
                self._failure = self._named(reason)
                self.outages, self._failed_at = self.outages + 1, time.monotonic()
                log.warning("%s; frames continue without masks", self._failure)

    def failing_s(self) -> float:
        """Return for how many seconds the server has not answered; 0 while it answers."""
        return time.monotonic() - self._failed_at if self._failure else 0.0

    def close(self) -> None:
        """See `Inference`."""
        if not self._closed:
            self._closed = True
            idle = self._wait_for_answers()
            if self._memory is not None:
                self._memory.close(self._client, idle)
            self._client.close()

    def _wait_for_answers(self) -> bool:
        """Return whether no result is pending that could still be written to our memory."""
        try:
            for _ in range(self._slot_count):
                self._slots.get(timeout=RETRY_S)
        except Empty:
            return False
        return True

    def _send(self, tensor: NDArray[np.float32], slot: int, future: Future[ProbabilityMap]) -> None:
        spec = self.card.input
        request = self._grpc.InferInput(spec.name, list(tensor.shape), "FP32")
        wanted = self._grpc.InferRequestedOutput(self.card.output.name)
        memory, client = self._memory, self._client
        if memory is not None:
            memory.write(slot, tensor)
            request.set_shared_memory(memory.name, memory.input_bytes, memory.input_at(slot))
            wanted.set_shared_memory(memory.name, memory.output_bytes, memory.output_at(slot))
        else:
            request.set_data_from_numpy(tensor)

        def answered(result: Any, error: Exception | None) -> None:
            try:
                if error is not None:
                    raise InferenceError(str(error))
                if memory is not None:
                    probabilities = memory.read(slot)
                else:
                    probabilities = result.as_numpy(self.card.output.name)[0, 0]
            except Exception as failure:
                if client is self._client:  # not of a connection that was replaced meanwhile
                    self.abandon(str(failure))
                future.set_exception(InferenceError(self._named(failure)))
            else:
                self._finish(future, probabilities)
            finally:
                self._slots.put(slot)

        client.async_infer(
            self.model, [request], answered, outputs=[wanted], client_timeout=TIMEOUT_S
        )

    def _finish(self, future: Future[ProbabilityMap], probabilities: ProbabilityMap) -> None:
        """Pass an answer on. If it is not finite, only this frame fails: the server works."""
        try:
            future.set_result(check_probabilities(probabilities))
        except InferenceError as error:
            future.set_exception(InferenceError(self._named(error)))

    def _named(self, reason: object) -> str:
        said = str(reason).replace("[request id: <id_unknown>] ", "")
        return f"Triton at {self.url}, model {self.model}: {said}"

    def _poll_server(self) -> None:
        """Try once a second, in the background, whether the server answers."""
        with self._lock:
            if self._looking or time.monotonic() - self._looked < RETRY_S:
                return
            self._looking, self._looked = True, time.monotonic()
        try:
            threading.Thread(target=self._recover, name="triton-recover", daemon=True).start()
        except RuntimeError:  # no thread can be started now; the next frame tries again
            self._looking = False

    def _recover(self) -> None:
        spec = self.card.input
        probe = self._grpc.InferInput(spec.name, [1, *spec.shape[1:]], "FP32")
        probe.set_data_from_numpy(np.zeros((1, *spec.shape[1:]), np.float32))
        client = None
        try:
            if self._closed:
                return
            # gRPC retries a broken connection ever less often, and the address may be another
            # server's by now: make a new connection for each attempt.
            client = connect(self.url)
            # A model whose backend died still reports ready: only a result proves that it works.
            client.infer(self.model, [probe], client_timeout=TIMEOUT_S)
            if self._memory is not None:
                self._memory.register(client)  # a restarted server does not know the region
        except Exception as error:
            log.debug("Triton at %s is still away: %s", self.url, error)
        else:
            with self._lock:
                if not self._closed:
                    client, self._client = self._client, client
                    self._failure = ""
                    log.warning("Triton at %s %s", self.url, AVAILABLE_AGAIN)
        finally:
            if client is not None:  # the old connection, or the new one if it is not used
                client.close()
            self._looking = False
