"""The rollups: sums of the ledger by hour and by day (UTC), over everything that usage is asked by; and the same without
keys and people, for whoever does not ask for them: as many rows less as there are keys in a project.

What is posted is summed up here, so that the database adds a few rows for thousands of calls. It counts as `sums_of` does,
which makes the sums anew from the ledger: tests hold one against the other.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import add, itemgetter
from typing import Any

from gateway.db.copying import written

PER_KEY = ("api_key_id", "user_id")
"""What the rollups of projects do not know."""
BY_PROJECT = ("project_id", "model", "endpoint", "kind", "batch", "priced")
FLAGS = ("batch", "priced")
SUMS = (
    "requests", "input_tokens", "cached_input_tokens", "output_tokens", "device_ms", "cost_nano", "input_nano",
    "cached_input_nano", "output_nano", "request_nano",
)  # fmt: skip
_sums = ", ".join("count(*) AS requests" if name == "requests" else f"sum({name}) AS {name}" for name in SUMS)
_added = ", ".join(f"{name} = kept.{name} + excluded.{name}" for name in SUMS)
_KEYS = (*PER_KEY, *BY_PROJECT)
_key = itemgetter(*_KEYS)
_summed = [itemgetter(name) for name in SUMS[1:]]

Row = Mapping[str, Any]
"""Columns of the ledger by name."""
Sums = Mapping[tuple[Any, ...], Sequence[int]]
"""By when their time starts and by keys."""


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

    @property
    def places(self) -> str:
        """Those of the key among the columns."""
        return ", ".join(str(number + 1) for number in range(len(self.keys) + 1))

    def sums_of(self, rows: str) -> str:
        """A query: this table's columns, summed up from `rows`, which has the ledger's; sorted by key.

        Everybody who writes many sums does it in this order, and cannot wait for another one who does.
        """
        start = f"date_trunc('{self.unit}', created_at, 'UTC') AS {self.unit}"
        columns = f"{start}, {', '.join(self.keys)}, {_sums}"
        return f"SELECT {columns} FROM {rows} GROUP BY {self.places} ORDER BY {self.places}"  # noqa: S608

    def adding(self, sums: str) -> str:
        """A statement: adds rows like this table's, sorted by key, to what it has."""
        insert = f"INSERT INTO {self.name} AS kept ({self.columns}) {sums}"
        return f"{insert} ON CONFLICT ({self.key}) DO UPDATE SET {_added}"


HOURS = Rollup("usage_hours", "hour", 3_600, (*PER_KEY, *BY_PROJECT))
DAYS = Rollup("usage_days", "day", 86_400, (*PER_KEY, *BY_PROJECT))
PROJECT_HOURS = Rollup("project_hours", "hour", 3_600, BY_PROJECT)
PROJECT_DAYS = Rollup("project_days", "day", 86_400, BY_PROJECT)
ROLLUPS = (HOURS, DAYS, PROJECT_HOURS, PROJECT_DAYS)


async def post_rollups(connection: Any, rows: Sequence[Row]) -> None:
    """A posting of the ledger (gateway/metering/ledger.py)."""
    sums = hours_of(rows)
    for rollup in ROLLUPS:
        added = _folded(sums, rollup)
        keys, counts = map(list, zip(*added, strict=True)), map(written, zip(*added.values(), strict=True))
        await connection.fetch(rollup.adding(_given(rollup)), *keys, *counts)


def hours_of(rows: Iterable[Row]) -> Sums:
    """By hour and every key of HOURS, in the order of SUMS."""
    grouped: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        grouped[row["created_at"].replace(minute=0, second=0, microsecond=0), *_key(row)].append(row)
    return {key: (len(same), *(sum(map(of, same)) for of in _summed)) for key, same in grouped.items()}


def _folded(sums: Sums, rollup: Rollup) -> Sums:
    """By what this table sums up by, which is less."""
    first = _KEYS.index(rollup.keys[0])
    folded: dict[tuple[Any, ...], Sequence[int]] = {}
    for (hour, *keys), counts in sums.items():
        key = (_started(hour, rollup), *keys[first:])
        known = folded.get(key)
        folded[key] = tuple(map(add, known, counts)) if known else counts
    return folded


def _started(hour: datetime, rollup: Rollup) -> datetime:
    return hour.replace(hour=0) if rollup.unit == "day" else hour


def _given(rollup: Rollup) -> str:
    """A query: rows of this table, of an array for each of its columns."""
    types = [
        "timestamptz",
        *("bool" if name in FLAGS else "text" for name in rollup.keys),
        *["text::bigint"] * len(SUMS),
    ]
    arrays = ", ".join(f"${number}::{type}[]" for number, type in enumerate(types, 1))
    return f"SELECT * FROM unnest({arrays}) ORDER BY {rollup.places}"  # noqa: S608
