from __future__ import annotations

from typing import Any

import pytest

from xpnet.card import Card, read_card
from xpnet.errors import UserError
from xpnet.paths import MODEL_REPOSITORY
from xpnet.serving.triton_connection import check_model


class Server:
    """A fake server's description of a model; tests/integration uses the real one."""

    def __init__(self, card: Card, ready: bool = True, datatype: str = "FP32") -> None:
        self.card, self.ready, self.datatype = card, ready, datatype

    def is_model_ready(self, _model: str, **_: Any) -> bool:
        return self.ready

    def get_model_metadata(self, _model: str, **_: Any) -> dict[str, Any]:
        def said(spec: Any) -> list[dict[str, Any]]:
            shape = list(map(str, spec.shape))
            return [{"name": spec.name, "datatype": self.datatype, "shape": shape}]

        return {"inputs": said(self.card.input), "outputs": said(self.card.output)}


def test_served_model_that_does_not_match_the_card_is_rejected() -> None:
    card = read_card(MODEL_REPOSITORY / "xpnet_lite" / "card.json")
    check_model(Server(card), "h:1", "m", card)
    with pytest.raises(UserError, match=r"Triton at h:1: model 'm' has .*, expected frames"):
        check_model(Server(card.at_size(64, 64)), "h:1", "m", card)
    with pytest.raises(UserError, match="model 'm' is not ready"):
        check_model(Server(card, ready=False), "h:1", "m", card)


def test_model_with_half_precision_tensors_is_rejected() -> None:
    """Its shapes are those of the card, but the server refuses every request."""
    card = read_card(MODEL_REPOSITORY / "xpnet_lite" / "card.json")
    with pytest.raises(UserError, match=r"has frames FP16 .*, expected frames FP32 \[-1, 3,"):
        check_model(Server(card, datatype="FP16"), "h:1", "m", card)
