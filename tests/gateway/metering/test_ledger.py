"""Posting: once, with everything that follows, or not at all."""

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest

from gateway.db.database import Database
from gateway.db.locks import OWN_LEDGER
from gateway.metering.ledger import Ledger, Row
from gateway.metering.rollups import post_rollups
from tests.gateway.logged import hours, ledger
from tests.gateway.metering.ledger_rows import charge
from tests.polling import until

pytestmark = pytest.mark.anyio

WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


class Seen:
    """A posting that remembers which rows were new."""

    def __init__(self) -> None:
        self.ids: list[list[str]] = []

    async def __call__(self, connection: Any, rows: Sequence[Row]) -> None:
        self.ids.append([row["id"] for row in rows])


async def post(database: Database, seen: Seen, *rows: dict[str, Any]) -> None:
    async with database.raw() as connection:
        await Ledger([post_rollups, seen]).post(connection, rows)


class TestPost:
    async def test_postings_see_what_is_new(self, database: Database) -> None:
        seen = Seen()
        await post(database, seen, charge("a"), charge("b"))
        await post(database, seen, charge("b"), charge("c"), charge("a"))
        await post(database, seen, charge("a"))
        assert seen.ids == [["a", "b"], ["c"]]
        assert [row.id for row in await ledger(database)] == ["a", "b", "c"]

    async def test_nothing_to_post_is_nothing_to_do(self, database: Database) -> None:
        seen = Seen()
        await post(database, seen)
        assert seen.ids == []

    async def test_a_value_that_does_not_fit_leaves_nothing(self, database: Database) -> None:
        with pytest.raises((asyncpg.DataError, OverflowError)):
            await post(database, Seen(), charge("a"), charge("b", input_tokens=2**63))
        assert (await ledger(database), await hours(database)) == ([], [])

    async def test_two_at_once_post_a_row_once(self, database: Database) -> None:
        """Each in its own order: sorted by id they cannot wait for each other."""
        seen = Seen()
        rows = [charge(f"{number:03}", project_id=f"proj_{number % 7}") for number in range(100)]
        await asyncio.gather(*(post(database, seen, *each) for each in (rows, rows[::-1], rows[50:], rows[:60])))
        assert sorted(id for ids in seen.ids for id in ids) == [row["id"] for row in rows]
        assert sum(each.requests for each in await hours(database)) == 100

    async def test_waits_for_who_has_the_ledger_alone(self, database: Database) -> None:
        """What that one has summed up is complete: the posting comes after it."""
        async with database.raw() as alone:
            await alone.execute(OWN_LEDGER)
            waiting = asyncio.create_task(post(database, Seen(), charge("a")))
            await until(lambda: alone.fetchval(WAITING))
            assert await alone.fetchval("SELECT count(*) FROM ledger") == 0
        await waiting
        assert len(await ledger(database)) == 1

    async def test_postings_do_not_wait_for_each_other(self, database: Database) -> None:
        async with database.raw() as first:
            await Ledger([]).post(first, [charge("a")])
            await post(database, Seen(), charge("b", project_id="proj_2"))
            assert [row.id for row in await ledger(database)] == ["b"]
