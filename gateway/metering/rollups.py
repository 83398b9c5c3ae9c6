"""The rollups: sums of the ledger by hour and by day (UTC), over everything that usage is asked by; and the same without
keys and people, for whoever does not ask for them: as many rows less as there are keys in a project.

What is posted and what is made anew are one statement over other rows, so they cannot disagree about what a sum is.
"""

from dataclasses import dataclass
from typing import Any

PER_KEY = ("api_key_id", "user_id")
"""What the rollups of projects do not know."""
BY_PROJECT = ("project_id", "model", "endpoint", "kind", "batch", "priced")
SUMS = (
    "requests", "input_tokens", "cached_input_tokens", "output_tokens", "device_ms", "cost_nano", "input_nano",
    "cached_input_nano", "output_nano", "request_nano",
)  # fmt: skip
_sums = ", ".join("count(*) AS requests" if name == "requests" else f"sum({name}) AS {name}" for name in SUMS)
_added = ", ".join(f"{name} = kept.{name} + excluded.{name}" for name in SUMS)


@dataclass(frozen=True, slots=True)
class Rollup:
    """One table of sums."""

    name: str
    unit: str
    """hour or day: the table's first column, and PostgreSQL's name for its length."""
    seconds: int
    keys: tuple[str, ...]
    """What is summed up by, but for the time."""

    @property
    def columns(self) -> str:
        return ", ".join((self.unit, *self.keys, *SUMS))

    @property
    def key(self) -> str:
        return ", ".join((self.unit, *self.keys))

    def sums_of(self, rows: str) -> str:
        """A query: this table's columns, summed up from `rows`, which has the ledger's; sorted by key.

        Everybody who writes many sums does it in this order, and cannot wait for another one who does.
        """
        start = f"date_trunc('{self.unit}', created_at, 'UTC') AS {self.unit}"
        places = ", ".join(str(number + 1) for number in range(len(self.keys) + 1))
        return f"SELECT {start}, {', '.join(self.keys)}, {_sums} FROM {rows} GROUP BY {places} ORDER BY {places}"  # noqa: S608

    def adding(self, sums: str) -> str:
        """A statement: adds rows like this table's, sorted by key, to what it has."""
        insert = f"INSERT INTO {self.name} AS kept ({self.columns}) {sums}"
        return f"{insert} ON CONFLICT ({self.key}) DO UPDATE SET {_added}"


HOURS = Rollup("usage_hours", "hour", 3_600, (*PER_KEY, *BY_PROJECT))
DAYS = Rollup("usage_days", "day", 86_400, (*PER_KEY, *BY_PROJECT))
PROJECT_HOURS = Rollup("project_hours", "hour", 3_600, BY_PROJECT)
PROJECT_DAYS = Rollup("project_days", "day", 86_400, BY_PROJECT)
ROLLUPS = (HOURS, DAYS, PROJECT_HOURS, PROJECT_DAYS)


async def post_rollups(connection: Any) -> None:
    """A posting of the ledger (gateway/metering/ledger.py)."""
    for rollup in ROLLUPS:
        await connection.fetch(rollup.adding(rollup.sums_of("posted")))
