"""What a limit is: so much of something in so much time, for a key or for all keys of a project."""

from dataclasses import dataclass
from typing import Literal

MINUTE, DAY = 60_000_000, 86_400_000_000
"""Microseconds."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One of the things that are limited."""

    field: str
    """In the settings and in the table."""
    unit: Literal["requests", "tokens"]
    period: int
    """Microseconds in which a bucket refills; 0: it counts calls at a time."""
    label: str
    """As OpenAI writes it in a refusal."""

    @property
    def is_held(self) -> bool:
        """Whether a call holds what it took until it ends: tokens are a guess until then, and a place is given back."""
        return self.unit == "tokens" or self.period == 0


REQUESTS_PER_MINUTE = Kind("requests_per_minute", "requests", MINUTE, "requests per min (RPM)")
TOKENS_PER_MINUTE = Kind("tokens_per_minute", "tokens", MINUTE, "tokens per min (TPM)")
REQUESTS_PER_DAY = Kind("requests_per_day", "requests", DAY, "requests per day (RPD)")
TOKENS_PER_DAY = Kind("tokens_per_day", "tokens", DAY, "tokens per day (TPD)")
CONCURRENT_REQUESTS = Kind("concurrent_requests", "requests", 0, "concurrent requests")
KINDS = (REQUESTS_PER_MINUTE, TOKENS_PER_MINUTE, REQUESTS_PER_DAY, TOKENS_PER_DAY, CONCURRENT_REQUESTS)


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit that holds for a call."""

    kind: Kind
    amount: int
    """At least 1."""
    project_id: str
    api_key_id: str | None
    """None: all keys of the project together."""
    model: str | None
    """None: all models together."""

    @property
    def name(self) -> str:
        """The same for every amount, in every process."""
        return f"{self.api_key_id or ''}:{self.kind.field}:{self.model or ''}"

    @property
    def is_shared(self) -> bool:
        return self.api_key_id is None
