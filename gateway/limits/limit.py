"""What a limit is: so much of something in so much time, for a key or for all keys of a project."""

import dataclasses
from dataclasses import dataclass
from typing import Literal

MINUTE, DAY = 60_000_000, 86_400_000_000
"""Microseconds."""
SLICES_OF_A_MINUTE = 50
SLICES_OF_A_DAY = 500
"""A process leases at most that part of a limit ahead; small limits are taken one by one."""


def _set(frozen: object, **values: object) -> None:
    """What follows from the rest is worked out once: each call asks for it several times."""
    for name, value in values.items():
        object.__setattr__(frozen, name, value)


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

    is_held: bool = dataclasses.field(init=False)
    """Whether a call holds what it took until it ends: tokens are a guess until then, and a place is given back."""
    is_tokens: bool = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        _set(self, is_held=self.unit == "tokens" or self.period == 0, is_tokens=self.unit == "tokens")


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

    name: str = dataclasses.field(init=False)
    """The same for every amount, in every process."""
    is_shared: bool = dataclasses.field(init=False)
    per_second: float = dataclasses.field(init=False)
    """What refills in a second."""
    slice: int = dataclasses.field(init=False)
    """What a process leases ahead when there is plenty."""

    def __post_init__(self) -> None:
        _set(
            self,
            name=f"{self.api_key_id or ''}:{self.kind.field}:{self.model or ''}",
            is_shared=self.api_key_id is None,
            per_second=self.amount * 1e6 / self.kind.period if self.kind.period else 0.0,
            slice=self.amount // (SLICES_OF_A_DAY if self.kind.period == DAY else SLICES_OF_A_MINUTE),
        )
