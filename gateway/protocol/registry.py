"""/v1/registry (an extension): every model that a project may call or once made, and what is known of each."""

from typing import Annotated, Literal

import msgspec

Kind = Literal["base", "adapter", "full", "provider"]
Status = Literal["active", "deprecated", "deleted"]


class ModelPrice(msgspec.Struct, frozen=True, kw_only=True):
    """Dollars, as calls that come in now are charged."""

    input_usd: float
    """Per 1M tokens."""
    cached_input_usd: float
    output_usd: float
    request_usd: float
    training_usd: float | None
    """Per 1M trained tokens; null: not known."""
    training_hour_usd: float | None
    """Per hour of one device."""


class ModelUse(msgspec.Struct, frozen=True, kw_only=True):
    """Calls of the last 30 days that it answered, all of them."""

    requests: int
    input_tokens: int
    output_tokens: int
    cost_usd: float
    unpriced: int


class RegisteredModel(msgspec.Struct, kw_only=True):
    id: str
    object: str = "registry.model"
    kind: Kind
    """base: the engine's own weights; adapter and full: trained here; provider: served elsewhere."""
    status: Status
    owned_by: str
    """The organization, or the provider's name."""
    own: bool
    """This project made it."""
    trainable: bool
    """A fine-tuning job can begin with it."""
    created_at: int | None
    deprecated_at: int | None
    deleted_at: int | None
    description: str
    """What whoever made it says of it; else the goal of its job (`metadata.goal`)."""
    base_model: str | None
    trained_from: str | None
    """The model that its job began with: the base, or another tuned one."""
    job_id: str | None
    step: int | None
    """Of a checkpoint."""
    problem: str | None
    """Why it cannot be called now."""
    price: ModelPrice | None
    used: ModelUse


class RegistryList(msgspec.Struct, kw_only=True):
    """Models that are nobody's come first, on the first page alone; then those that were trained, newest first."""

    object: str = "list"
    data: list[RegisteredModel]
    has_more: bool
    last_id: str | None


class RegistryUpdate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is left out stays."""

    deprecated: bool | msgspec.UnsetType = msgspec.UNSET
    description: Annotated[str, msgspec.Meta(max_length=4000)] | msgspec.UnsetType = msgspec.UNSET
