"""/v1/prices (an extension): what models cost, and from when."""

from typing import Literal

import msgspec
from msgspec import Raw

NULL = Raw(b"null")


class PriceCreate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Amounts are US dollars, as JSON numbers; those of tokens are for 1M of them. null is like leaving out."""

    model: str
    effective_at: int | None = None
    """Unix seconds; now when left out. Never in the past."""
    input: Raw
    cached_input: Raw = NULL
    """Like `input` when left out."""
    output: Raw
    per_request: Raw = NULL
    training: Raw = NULL
    """For 1M trained tokens."""
    training_hour: Raw = NULL
    """For an hour of one device in training."""
    max_output_tokens: int | None = None
    """The most that the model answers: what a call that names no limit may cost a budget."""


class UnpricedModel(msgspec.Struct, kw_only=True):
    """A model that was called in a project and met no price: what it cost is in no bill and no budget."""

    object: str = "price.unpriced"
    model: str
    project_id: str
    requests: int
    """With usage, since the time that was asked for."""
    last_used_on: int
    """The midnight (UTC) of the last day with such a call."""
    priced_now: bool
    """Since then it was given a price."""


class UnpricedList(msgspec.Struct, kw_only=True):
    object: str = "list"
    data: list[UnpricedModel]


class PriceObject(msgspec.Struct, kw_only=True):
    """A price holds from `effective_at` until the next one of the same model begins."""

    id: str
    object: str = "price"
    model: str
    input: float
    cached_input: float
    output: float
    per_request: float
    training: float | None
    training_hour: float | None
    max_output_tokens: int | None
    problem: str | None
    """Why no call is charged by it."""
    source: Literal["api", "settings"] = "settings"
    effective_at: int = 0
    """Unix seconds; 0 for one of the settings, which hold from the beginning of time."""
    created_at: int | None = None
    """Unix seconds; null for one of the settings."""
