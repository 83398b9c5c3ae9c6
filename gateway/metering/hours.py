"""The rollup: sums of the ledger by hour. What is posted and what is made anew are one statement over other rows."""

from typing import Any

from gateway.db.tables import UsageHourRow

KEYS = tuple(column.key for column in UsageHourRow.__table__.columns if column.primary_key)
"""The hour, then everything that usage is grouped and filtered by."""
SUMS = tuple(column.key for column in UsageHourRow.__table__.columns if not column.primary_key)

_from_ledger = {
    "hour": "date_trunc('hour', created_at, 'UTC') AS hour",
    "requests": "count(*) AS requests",
} | {name: f"sum({name}) AS {name}" for name in SUMS if name != "requests"}


def hours_of(rows: str) -> str:
    """A query: the columns of `usage_hours` from `rows`, which has those of the ledger; sorted by key.

    Everybody who writes many hours does it in this order and cannot wait for another one who does.
    """
    columns = ", ".join(_from_ledger.get(name, name) for name in (*KEYS, *SUMS))
    places = ", ".join(str(number + 1) for number in range(len(KEYS)))
    return f"SELECT {columns} FROM {rows} GROUP BY {places} ORDER BY {places}"  # noqa: S608 names of this module


_added = ", ".join(f"{name} = kept.{name} + excluded.{name}" for name in SUMS)
POST_HOURS = f"""
INSERT INTO usage_hours AS kept ({", ".join((*KEYS, *SUMS))}) {hours_of("posted")}
ON CONFLICT ({", ".join(KEYS)}) DO UPDATE SET {_added}
"""


async def post_hours(connection: Any) -> None:
    """A posting of the ledger (gateway/metering/ledger.py): adds the new rows to their hours."""
    await connection.execute(POST_HOURS)
