"""The windows of a budget's period, by the UTC calendar. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

DAY = timedelta(days=1)
WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Window:
    """From `starts_at` until before `ends_at`; None: without an end."""

    starts_at: datetime
    ends_at: datetime | None


def window_of(period: str, since: datetime, moment: datetime) -> Window | None:
    """The window that `moment` lies in; None when a total has not begun yet.

    Everything in a calendar window counts, also what was before the budget was made. A total counts from then on.

    Args:
        period: total, day, week (from Monday) or month.
        since: when the budget was made.
    """
    if period == "total":
        return Window(since, None) if moment >= since else None
    day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    match period:
        case "day":
            return Window(day, day + DAY)
        case "week":
            monday = day - timedelta(days=day.weekday())
            return Window(monday, monday + WEEK)
        case "month":
            first = day.replace(day=1)
            return Window(first, (first + timedelta(days=31)).replace(day=1))
        case _:
            raise ValueError(f"{period!r} is no period of a budget")
