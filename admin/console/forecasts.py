"""When a budget will run out, if its window goes on as it began. Pure."""

from dataclasses import dataclass
from typing import Any

DAY = 86_400
LEAST_SECONDS = 3_600
"""Of a window: before that, a few calls would be taken for a trend."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """Of one budget's window."""

    usd_per_day: float | None
    """Spent so far over the time so far; None: the window has only begun."""
    runs_out_at: float | None
    """Unix seconds; None: not in this window, or nobody can say yet."""
    is_used_up: bool
    """Nothing is left now."""


def forecast(budget: dict[str, Any], moment: float) -> Forecast:
    """Spend goes on at its mean rate since the window began.

    Args:
        budget: as GET /v1/budgets shows it.
        moment: now, in Unix seconds.
    """
    window, limit = budget["window"], budget["limit_usd"]
    spent = window["spent_usd"]
    if spent >= limit:
        return Forecast(None, None, is_used_up=True)
    elapsed = moment - window["starts_at"]
    if elapsed < LEAST_SECONDS:
        return Forecast(None, None, is_used_up=False)
    rate = spent / elapsed
    runs_out_at = moment + (limit - spent) / rate if rate > 0 else None
    ends_at = window["ends_at"]
    if runs_out_at is not None and ends_at is not None and runs_out_at >= ends_at:
        runs_out_at = None
    return Forecast(rate * DAY, runs_out_at, is_used_up=False)


def fullest(budgets: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The one of which the largest part is spent; of equal ones a hard one."""
    return max(budgets, key=lambda each: (each["window"]["percent"], each["hard"]), default=None)
