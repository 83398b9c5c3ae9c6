"""Whether a worker has looked for alerts for long enough to say that one has ended (gateway/open_alerts.py)."""

from dataclasses import dataclass
from datetime import datetime, timedelta

ENDS_AFTER = timedelta(minutes=10)
"""Several times as long as anybody waits between two looks."""
BREAK = ENDS_AFTER / 2
"""Longer than this, and a worker has not looked all the time."""


@dataclass(slots=True)
class Looks:
    """Since when a worker has looked for alerts, and the database has answered, without a break."""

    since: datetime | None = None
    last: datetime | None = None

    def are_steady(self, moment: datetime) -> bool:
        """For so long that every gateway that is alive has noted what it knows."""
        if self.since is None or self.last is None or moment - self.last > BREAK:
            return False
        return moment - self.since >= ENDS_AFTER

    def add(self, moment: datetime) -> None:
        if self.last is None or moment - self.last > BREAK:
            self.since = moment
        self.last = moment
