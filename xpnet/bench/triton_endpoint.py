"""The Triton server of a benchmark: its addresses, models and dynamic batching."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from xpnet.addresses import check_server, is_loopback
from xpnet.errors import UserError
from xpnet.serving.triton_client import TIMEOUT_S
from xpnet.serving.triton_connection import connect
from xpnet.serving.triton_server import TritonServer


@dataclass(frozen=True)
class Endpoint:
    """A running Triton server.

    Attributes:
        grpc: HOST:PORT for gRPC.
        http: HOST:PORT for HTTP; empty if unknown.
        started_here: Whether this process started the server.
        models: The models that the server was started with, if this process started it.
    """

    grpc: str
    http: str
    started_here: bool = False
    models: tuple[str, ...] = ()

    @classmethod
    def from_url(cls, url: str, http_url: str = "") -> Endpoint:
        """Return the endpoint of a running server.

        Args:
            url: HOST:PORT for gRPC.
            http_url: HOST:PORT for HTTP; empty if unknown.

        Raises:
            UserError: An address is invalid, or no server answers at `url`.
        """
        for address in filter(None, (url, http_url)):
            check_server(address, "Triton")
        endpoint = cls(url, http_url)
        endpoint.version()
        return endpoint

    @classmethod
    def from_server(cls, server: TritonServer) -> Endpoint:
        """Return the endpoint of a server that this process started."""
        return cls(server.grpc_url, server.http_url, started_here=True, models=server.models)

    @property
    def is_local(self) -> bool:
        """Whether the server runs on this machine."""
        return is_loopback(self.grpc)

    def version(self) -> str:
        """Return the version of Triton.

        Raises:
            UserError: The server does not answer.
        """
        return str(self._call("get_server_metadata").version)

    def has_model(self, name: str) -> bool:
        """Return whether the model is served and ready."""
        return bool(self._call("is_model_ready", name))

    def require_model(self, name: str) -> None:
        """Raise UserError unless the model is served and ready."""
        if not self.has_model(name):
            raise UserError(f"Triton at {self.grpc}: model '{name}' is not ready")

    def batching(self, model: str) -> str:
        """Return "on" if the server uses dynamic batching for the model, otherwise "off"."""
        config = self._call("get_model_config", model).config
        return "on" if config.HasField("dynamic_batching") else "off"

    def shared_memory_error(self) -> str:
        """Return why the server cannot use system shared memory; empty if it can."""
        try:
            self._call("get_system_shared_memory_status")
        except UserError as error:
            return str(error)
        return ""

    def _call(self, method: str, *arguments: Any) -> Any:
        client = connect(self.grpc)
        from tritonclient.utils import InferenceServerException

        try:
            return getattr(client, method)(*arguments, client_timeout=TIMEOUT_S)
        except InferenceServerException as error:
            raise UserError(f"Triton at {self.grpc} does not answer: {error}") from error
        finally:
            client.close()
