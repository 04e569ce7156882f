"""A plan that lies in the model repository: of these weights, and built on this GPU?

TensorRT refuses plans of another version of it; one of other weights it loads without a word, and
one of another GPU of the same architecture with a warning.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from xpnet.card import Card, read_card
from xpnet.errors import UserError
from xpnet.host.gpu import JETSON_LINUX, describe_gpu
from xpnet.paths import plan_path


def card_of_plan(plan: Path) -> Card | None:
    """The card beside a plan; None where it is missing, broken, or of another file."""
    try:
        card = read_card(plan.with_name("card.json"))
        content = plan.read_bytes()
    except (OSError, UserError):
        return None
    return card if card.graph.get("sha256") == sha256(content).hexdigest() else None


def check_plan(folder: Path) -> None:
    """Whether the plan in a model's folder may be served.

    Raises:
        UserError: it has no card of its own, is of other weights or sizes than the model, or was
            built on another GPU than this machine's.
    """
    plan, served = plan_path(folder), read_card(folder / "card.json")
    found = card_of_plan(plan)
    again = f"build it again: xpnet build --model {folder.name}"
    if found is None:
        raise UserError(f"{plan}: the card.json beside it is not of this file; {again}")
    same = (found.name, found.input, found.output) == (served.name, served.input, served.output)
    if not (same and found.same_weights(served)):
        raise UserError(f"{plan}: is of other weights or of another size than the model; {again}")
    jetson = str(found.graph.get("driver")).startswith(JETSON_LINUX)
    try:
        here = describe_gpu("jetson" if jetson else "rtx")["gpu"]
    except UserError:  # then Triton says it
        return
    if found.graph.get("gpu") != here:
        raise UserError(f"{plan}: was built on {found.graph.get('gpu')}, this is {here}; {again}")
