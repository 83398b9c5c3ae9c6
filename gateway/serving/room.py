"""Who leaves an engine that holds more fine-tuned models than it should, and who gets in first."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

BUSY = timedelta(minutes=10)
"""A checkpoint that was called within this time is worth as much as a final."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """A fine-tuned model, as far as its place in an engine goes."""

    model: str
    is_checkpoint: bool
    created_at: datetime
    last_used_at: datetime | None

    @property
    def used_at(self) -> datetime:
        """Its publication counts as a use."""
        return max(self.created_at, self.last_used_at) if self.last_used_at else self.created_at


def by_worth(tenants: Iterable[Tenant], now: datetime) -> list[Tenant]:
    """What should stay longest first: what was used last, idle checkpoints behind everything else."""

    def worth(tenant: Tenant) -> tuple[bool, datetime, str]:
        called_lately = tenant.last_used_at is not None and tenant.last_used_at > now - BUSY
        return (not tenant.is_checkpoint or called_lately, tenant.used_at, tenant.model)

    return sorted(tenants, key=worth, reverse=True)


def leaving(loaded: Iterable[Tenant], room: int, now: datetime, *, newest: str | None = None) -> list[str]:
    """Which of the models that are loaded leave, so that `room` are left; the least worth first.

    Args:
        room: 0 means that there is no limit.
        newest: was loaded a moment ago for somebody who waits, and stays.
    """
    ordered = by_worth(loaded, now)
    if newest is not None:
        ordered.sort(key=lambda tenant: tenant.model != newest)
    return [tenant.model for tenant in reversed(ordered[room:])] if room else []
