"""A Triton server as a client under load sees it: its addresses, its models, their batching."""

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
    """`grpc` and `http` are HOST:PORT, `http` empty where it is not known.

    `models` are those that our own server was told to serve, `ours` whether it is one.
    """

    grpc: str
    http: str
    models: tuple[str, ...] = ()
    ours: bool = False

    @classmethod
    def of(cls, url: str, http_url: str = "") -> Endpoint:
        """A server that runs already. Raises UserError where none answers at `url`."""
        for given in filter(None, (url, http_url)):
            check_server(given, "Triton")
        endpoint = cls(url, http_url)
        endpoint.version()
        return endpoint

    @property
    def local(self) -> bool:
        """Whether it runs on this machine."""
        return is_loopback(self.grpc)

    def version(self) -> str:
        """The server's own. Raises UserError where none answers."""
        return str(self._ask("get_server_metadata").version)

    def has_model(self, name: str) -> bool:
        """Whether the model is served and ready."""
        return bool(self._ask("is_model_ready", name))

    def require_model(self, name: str) -> None:
        """Raises UserError unless the model is served."""
        if not self.has_model(name):
            raise UserError(f"Triton at {self.grpc}: model '{name}' is not ready")

    def batching(self, model: str) -> str:
        """Dynamic batching of a model as it is served: on or off."""
        config = self._ask("get_model_config", model).config
        return "on" if config.HasField("dynamic_batching") else "off"

    def no_shared_memory(self) -> str:
        """Why the server shares no memory with its clients; empty where it does."""
        try:
            self._ask("get_system_shared_memory_status")
        except UserError as error:
            return str(error)
        return ""

    def _ask(self, method: str, *arguments: Any) -> Any:
        client = connect(self.grpc)
        from tritonclient.utils import InferenceServerException

        try:
            return getattr(client, method)(*arguments, client_timeout=TIMEOUT_S)
        except InferenceServerException as error:
            raise UserError(f"Triton at {self.grpc} does not answer: {error}") from error
        finally:
            client.close()


def own_endpoint(server: TritonServer) -> Endpoint:
    """The endpoint of a server that this process runs."""
    return Endpoint(server.grpc_url, server.http_url, server.models, ours=True)
