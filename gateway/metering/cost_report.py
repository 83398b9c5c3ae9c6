"""A cost, split into line items as it was charged. They add up to it to the nano-dollar."""

from collections.abc import Iterator
from typing import NamedTuple

from gateway.metering.usage_report import ItemisedSum

TRAINING = "training"
GROUPS = ("model", "kind")
"""What a sum must be grouped by, last, before it can be split."""


class LineItem(NamedTuple):
    """A part of a cost."""

    name: str
    nano: int
    quantity: int
    unit: str = "tokens"


def line_items(cost: ItemisedSum) -> Iterator[LineItem]:
    """The parts of a sum whose group ends with GROUPS.

    Input and output of calls are always there, so that a model without a price is seen too. "requests" is the price per
    request, what rounding up added (less than a nano-dollar a call), and all of a cost whose parts were not recorded.
    """
    model, kind = cost.group[-2:]
    if kind == TRAINING:
        yield LineItem(f"{model}, training", cost.cost_nano, cost.input_tokens)
        return
    yield LineItem(f"{model}, input", cost.input_nano, cost.input_tokens - cost.cached_input_tokens)
    if cost.cached_input_tokens or cost.cached_input_nano:
        yield LineItem(f"{model}, cached input", cost.cached_input_nano, cost.cached_input_tokens)
    yield LineItem(f"{model}, output", cost.output_nano, cost.output_tokens)
    if cost.request_nano:
        yield LineItem(f"{model}, requests", cost.request_nano, cost.requests, "requests")


def models_of(line_items: list[str]) -> list[str]:
    """The models that these line items can be of."""
    return [name.rpartition(", ")[0] for name in line_items]
