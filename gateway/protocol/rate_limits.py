"""/v1/organization/projects/{project}/rate_limits (contract section 8), with what OpenAI lacks in the same style."""

from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType

UNLIMITED = 2**31 - 1
"""OpenAI's type wants a number where there is no limit. Who sets this number takes a limit away, a tier's too."""
ALL_MODELS = "*"
"""As a model: all of them together."""
PREFIX = "rl-"

Amount = Annotated[int, msgspec.Meta(ge=1, le=UNLIMITED)] | UnsetType | None
"""Left out: it stays as it is; null: back to the tier's."""

COLUMNS = {
    "max_requests_per_1_minute": "requests_per_minute",
    "max_tokens_per_1_minute": "tokens_per_minute",
    "max_requests_per_1_day": "requests_per_day",
    "max_tokens_per_1_day": "tokens_per_day",
    "max_concurrent_requests": "concurrent_requests",
    "max_images_per_1_minute": "images_per_minute",
    "max_audio_megabytes_per_1_minute": "audio_megabytes_per_minute",
    "batch_1_day_max_input_tokens": "batch_input_tokens_per_day",
}
"""Field on the wire -> field in the settings and in the table."""


class ProjectRateLimit(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Of one model, or of all together; OpenAI leaves out what is not limited, but for the first two."""

    id: str
    object: str
    model: str
    max_requests_per_1_minute: int
    max_tokens_per_1_minute: int
    max_images_per_1_minute: int | UnsetType = UNSET
    max_audio_megabytes_per_1_minute: int | UnsetType = UNSET
    max_requests_per_1_day: int | UnsetType = UNSET
    batch_1_day_max_input_tokens: int | UnsetType = UNSET
    max_tokens_per_1_day: int | UnsetType = UNSET
    """An extension, as what follows."""
    max_concurrent_requests: int | UnsetType = UNSET
    api_key_id: str | UnsetType = UNSET
    """The key that they hold for."""


class RateLimitUpdate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    max_requests_per_1_minute: Amount = UNSET
    max_tokens_per_1_minute: Amount = UNSET
    max_images_per_1_minute: Amount = UNSET
    max_audio_megabytes_per_1_minute: Amount = UNSET
    max_requests_per_1_day: Amount = UNSET
    batch_1_day_max_input_tokens: Amount = UNSET
    max_tokens_per_1_day: Amount = UNSET
    """An extension, as the next one."""
    max_concurrent_requests: Amount = UNSET
    """Calls at a time."""


def given(update: RateLimitUpdate) -> dict[str, int | None]:
    """Field on the wire -> what it was set to."""
    return {name: value for name in COLUMNS if (value := getattr(update, name)) is not UNSET}
