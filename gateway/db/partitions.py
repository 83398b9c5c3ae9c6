"""Tables that are kept in monthly parts, by ids that sort by time (gateway/kit/ids.py).

Every id has its place: `_earlier` takes all before the first month, `_later` all behind the last one. Neither is meant to
hold much: months are made before they begin, and what came to `_later` all the same moves when its month is made. A default
partition instead of the two would keep PostgreSQL from reading the parts one after the other, newest first, so that a list
of few exchanges began in all of them (partitions_are_ordered in partbounds.c).

Whoever changes the parts needs the table for himself. It waits for that no longer than PATIENCE, since everybody else waits
behind it, and raises Busy; the next round tries again.
"""

import re
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.kit.ids import NANOSECONDS, first_request_id

EXCHANGES, EXCHANGE_TEXTS = "exchanges", "exchange_texts"
PARTITIONED = (EXCHANGES, EXCHANGE_TEXTS)
PATIENCE = "2s"
NOT_IN_TIME = "55P03"
"""SQLSTATE of a lock that was not to be had."""
BOUNDS = re.compile(r"FOR VALUES FROM \((MINVALUE|'[^']*')\) TO \((MAXVALUE|'[^']*')\)")
PARTS = text("""
SELECT c.relname::text, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = CAST(:of AS regclass)
""")


class Busy(Exception):
    """Somebody reads or writes the table for long; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Part:
    """One partition: ids from `first` on, before `end`."""

    table: str
    """Of which it is a part."""
    name: str
    first: str | None
    """None: no bound."""
    end: str | None

    @property
    def bounds(self) -> str:
        first = "MINVALUE" if self.first is None else f"'{self.first}'"
        return f"FOR VALUES FROM ({first}) TO ({'MAXVALUE' if self.end is None else repr(self.end)})"


async def parts(session: AsyncSession, table: str) -> list[Part]:
    """In the order of their ids."""
    found: list[Part] = []
    for name, bounds in await session.execute(PARTS, {"of": table}):
        said = BOUNDS.fullmatch(bounds)
        assert said is not None, f"{name} is no partition by ids: {bounds}"
        first, end = (None if each.endswith("VALUE") else each.strip("'") for each in said.groups())
        found.append(Part(table, name, first, end))
    return sorted(found, key=lambda part: part.first or "")


async def add_months(session: AsyncSession, table: str, until: datetime) -> int:
    """Make the months that are missing up to the one of `until`, which then has an end; returns how many were made.

    Raises:
        Busy
    """
    last = (await parts(session, table))[-1]
    assert last.first is not None, f"{table} has a single part"
    bounds = list(_months(last.first, until))
    if bounds:
        await split(session, last, bounds)
    return len(bounds)


async def split(session: AsyncSession, part: Part, bounds: Sequence[str]) -> None:
    """Have several in the place of one. Args: bounds: ids within it, in order; rows go where they belong.

    Raises:
        Busy
    """
    edges = [part.first, *bounds, part.end]
    async with _alone(session, part.table):
        if part not in await parts(session, part.table):  # another worker was here
            return
        left = f"{part.name}_split"
        await session.execute(text(f"ALTER TABLE {part.table} DETACH PARTITION {part.name}"))
        await session.execute(text(f"ALTER TABLE {part.name} RENAME TO {left}"))
        for first, end in pairwise(edges):
            await _make(session, Part(part.table, _name(part.table, first, end), first, end))
        await session.execute(text(f"INSERT INTO {part.table} SELECT * FROM {left}"))  # noqa: S608 names of the catalog
        await session.execute(text(f"DROP TABLE {left}"))


async def drop_before(session: AsyncSession, table: str, end: str) -> int:
    """Drop the parts of which everything comes before `end`, the bound of one; returns how many. What still comes with such
    an id has its place.

    Raises:
        Busy
    """
    async with _alone(session, table):
        ended = [part for part in await parts(session, table) if part.end is not None and part.end <= end]
        for part in ended:
            await session.execute(text(f"DROP TABLE {part.name}"))
        if ended:
            await _make(session, Part(table, _name(table, None, ended[-1].end), None, ended[-1].end))
    return len(ended)


async def analyse(session: AsyncSession, table: str) -> None:
    """Have the planner know the table as a whole: PostgreSQL by itself looks at parts alone."""
    await session.execute(text(f"ANALYZE {table}"))


@asynccontextmanager
async def _alone(session: AsyncSession, table: str) -> AsyncGenerator[None]:
    """The table until the transaction ends. The parts are not locked: they are reached through it alone."""
    try:
        async with session.begin_nested():
            await session.execute(text(f"SET LOCAL lock_timeout = '{PATIENCE}'"))
            await session.execute(text(f"LOCK TABLE ONLY {table} IN ACCESS EXCLUSIVE MODE"))
            yield
            await session.execute(text("SET LOCAL lock_timeout TO DEFAULT"))
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != NOT_IN_TIME:
            raise
        raise Busy(table) from error


async def _make(session: AsyncSession, part: Part) -> None:
    await session.execute(text(f"CREATE TABLE {part.name} PARTITION OF {part.table} {part.bounds}"))


def _name(table: str, first: str | None, end: str | None) -> str:
    if first is None:
        return f"{table}_earlier"
    return f"{table}_later" if end is None else f"{table}_{begins(first):%Y_%m}"


def _months(first: str, until: datetime) -> Iterator[str]:
    """The ends of months: of the one that begins with the id `first`, up to that of `until`."""
    end = next_month(begins(first))
    while end <= next_month(until):
        yield first_request_id(int(end.timestamp()))
        end = next_month(end)


def next_month(moment: datetime) -> datetime:
    """When it begins (UTC)."""
    return datetime(moment.year + moment.month // 12, moment.month % 12 + 1, 1, tzinfo=UTC)


def begins(bound: str) -> datetime:
    """The time of a part's first or end (UTC)."""
    return datetime.fromtimestamp(int(bound.removeprefix("req_"), 16) // NANOSECONDS, UTC)
