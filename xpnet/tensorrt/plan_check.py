"""Check that a plan in the model repository belongs to its model and to this GPU.

TensorRT itself rejects a plan of another TensorRT version. It loads a plan with other weights
without a message, and a plan of another GPU of the same architecture with a warning.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from xpnet.card import Card, read_card
from xpnet.errors import UserError
from xpnet.host.gpu import JETSON_LINUX, describe_gpu
from xpnet.paths import card_path, plan_path


def read_plan_card(plan: Path) -> Card | None:
    """Read the card beside a plan.

    Args:
        plan: The plan file.

    Returns:
        The card, or None if the card or the plan cannot be read, or if the SHA-256 in the card is
        not that of the plan.
    """
    try:
        card = read_card(card_path(plan.parent))
        content = plan.read_bytes()
    except (OSError, UserError):
        return None
    return card if card.graph.get("sha256") == sha256(content).hexdigest() else None


def check_plan(model_dir: Path) -> None:
    """Check that the plan of a model may be served on this machine.

    Args:
        model_dir: The model's folder in a model repository.

    Raises:
        UserError: The plan has no card of its own, has other weights or another input size than
            the model, or was built on another GPU.
    """
    plan, served = plan_path(model_dir), read_card(card_path(model_dir))
    card = read_plan_card(plan)
    action = f"build the plan again: xpnet build --model {model_dir.name}"
    if card is None:
        raise UserError(f"{plan}: the card.json beside it does not match this file; {action}")
    same_tensors = (card.name, card.input, card.output) == (
        served.name,
        served.input,
        served.output,
    )
    if not (same_tensors and card.same_weights(served)):
        raise UserError(f"{plan}: weights or input size differ from the model's; {action}")
    is_jetson = str(card.graph.get("driver")).startswith(JETSON_LINUX)
    try:
        gpu = describe_gpu("jetson" if is_jetson else "rtx")["gpu"]
    except UserError:  # no GPU: Triton reports it when it loads the plan
        return
    if card.graph.get("gpu") != gpu:
        raise UserError(
            f"{plan}: built on {card.graph.get('gpu')}, this machine has {gpu}; {action}"
        )
