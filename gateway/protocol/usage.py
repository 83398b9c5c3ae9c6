"""Usage and costs of the Administration API (contract section 8)."""

from collections.abc import Sequence
from typing import Any

import msgspec


class CompletionsUsage(msgspec.Struct, kw_only=True):
    """Tokens of one bucket and group.

    The ledger counts tokens without their modality: every token is in the text counts, the audio and image counts are 0,
    and so are cache writes. The keys from `project_id` on are null unless grouped by.
    """

    object: str = "organization.usage.completions.result"
    input_tokens: int
    input_cached_tokens: int
    input_cache_write_tokens: int = 0
    input_cache_write_30m_tokens: int = 0
    input_cache_write_12h_tokens: int = 0
    input_uncached_tokens: int
    output_tokens: int
    input_text_tokens: int
    output_text_tokens: int
    input_cached_text_tokens: int
    input_audio_tokens: int = 0
    input_cached_audio_tokens: int = 0
    output_audio_tokens: int = 0
    input_image_tokens: int = 0
    input_cached_image_tokens: int = 0
    output_image_tokens: int = 0
    num_model_requests: int
    project_id: str | None = None
    user_id: str | None = None
    api_key_id: str | None = None
    model: str | None = None
    batch: bool | None = None
    service_tier: str | None = None
    api_source: str | None = None


class EmbeddingsUsage(msgspec.Struct, kw_only=True):
    object: str = "organization.usage.embeddings.result"
    input_tokens: int
    num_model_requests: int
    project_id: str | None = None
    user_id: str | None = None
    api_key_id: str | None = None
    model: str | None = None


class ModerationsUsage(msgspec.Struct, kw_only=True):
    object: str = "organization.usage.moderations.result"
    input_tokens: int
    num_model_requests: int
    project_id: str | None = None
    user_id: str | None = None
    api_key_id: str | None = None
    model: str | None = None


class TrainingsUsage(msgspec.Struct, kw_only=True):
    """An extension: what was trained."""

    object: str = "organization.usage.trainings.result"
    num_trainings: int
    """That were charged; also one that was stopped and has used a device."""
    trained_tokens: int
    device_seconds: float
    cost_usd: float
    project_id: str | None = None
    user_id: str | None = None
    api_key_id: str | None = None
    model: str | None = None
    """The base model."""


class Amount(msgspec.Struct, kw_only=True):
    value: float
    """Dollars; the exact nano-dollars, converted once."""
    currency: str = "usd"


class Costs(msgspec.Struct, kw_only=True):
    """Money of one bucket and group. The keys from `line_item` to `user_id` are null unless grouped by."""

    object: str = "organization.costs.result"
    amount: Amount
    line_item: str | None = None
    project_id: str | None = None
    api_key_id: str | None = None
    user_id: str | None = None
    api_source: str | None = None
    quantity: int | None = None
    """When grouped by line item."""
    quantity_unit: str | None = None
    """tokens; of the line item for requests, requests."""
    unpriced_requests: int
    """An extension: requests with usage whose model had no price. Above 0, `amount` is less than what was used."""


class Bucket(msgspec.Struct, kw_only=True):
    object: str = "bucket"
    start_time: int
    """Inclusive."""
    end_time: int
    """Exclusive."""
    results: Sequence[Any]


class BucketPage(msgspec.Struct, kw_only=True):
    object: str = "page"
    data: list[Bucket]
    has_more: bool
    next_page: str | None
