"""The rollups: sums of the ledger by hour and by day (UTC), over everything that usage is asked by; and the same without
keys and people, for whoever does not ask for them: as many rows less as there are keys in a project.

What is posted and what is made anew are one statement over other rows, so they cannot disagree about what a sum is.
"""

from dataclasses import dataclass
from typing import Any

from gateway.db.tables import ProjectDayRow, ProjectHourRow, UsageDayRow, UsageHourRow

PER_KEY = ("api_key_id", "user_id")
"""What the rollups of projects do not know."""
SUMS = tuple(column.key for column in UsageHourRow.__table__.columns if not column.primary_key)
_sums = ", ".join("count(*) AS requests" if name == "requests" else f"sum({name}) AS {name}" for name in SUMS)
_added = ", ".join(f"{name} = kept.{name} + excluded.{name}" for name in SUMS)


@dataclass(frozen=True, slots=True)
class Rollup:
    """One table of sums."""

    table: type[UsageHourRow | UsageDayRow | ProjectHourRow | ProjectDayRow]
    unit: str
    """hour or day: the table's first column, and PostgreSQL's name for its length."""
    seconds: int

    @property
    def keys(self) -> tuple[str, ...]:
        """What is summed up by, but for the time."""
        return tuple(column.key for column in self.table.__table__.columns if column.primary_key)[1:]

    @property
    def name(self) -> str:
        return self.table.__tablename__

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


HOURS = Rollup(UsageHourRow, "hour", 3_600)
DAYS = Rollup(UsageDayRow, "day", 86_400)
PROJECT_HOURS = Rollup(ProjectHourRow, "hour", 3_600)
PROJECT_DAYS = Rollup(ProjectDayRow, "day", 86_400)
ROLLUPS = (HOURS, DAYS, PROJECT_HOURS, PROJECT_DAYS)


async def post_rollups(connection: Any) -> None:
    """A posting of the ledger (gateway/metering/ledger.py)."""
    for rollup in ROLLUPS:
        await connection.execute(rollup.adding(rollup.sums_of("posted")))
