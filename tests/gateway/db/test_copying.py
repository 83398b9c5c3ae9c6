"""Each row once, whoever else writes it; and nothing of what cannot be stored."""

import asyncio
from typing import Any

import asyncpg
import pytest

from gateway.db.copying import copy_new, written
from gateway.db.database import Database
from tests.polling import until

pytestmark = pytest.mark.anyio

COLUMNS = ("exchange_id",)
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"


async def copied(connection: Any, *ids: str) -> list[str]:
    return sorted(await copy_new(connection, "unread_exchanges", COLUMNS, [(id,) for id in ids]))


async def stored(database: Database) -> list[str]:
    async with database.raw() as connection:
        return [row[0] for row in await connection.fetch("SELECT exchange_id FROM unread_exchanges ORDER BY 1")]


class TestCopyNew:
    async def test_says_what_is_new(self, database: Database) -> None:
        for wanted, new in ((["b", "a"], ["a", "b"]), (["c", "a", "b"], ["c"]), (["a", "c"], []), ([], [])):
            async with database.raw() as connection:
                assert await copied(connection, *wanted) == new
        assert await stored(database) == ["a", "b", "c"]

    async def test_goes_on_in_its_transaction(self, database: Database) -> None:
        """What was written before stays, and nothing temporary does."""
        async with database.raw() as connection:
            await copied(connection, "a")
        for id in ("b", "c"):
            async with database.raw() as connection:
                await connection.execute("INSERT INTO unread_exchanges VALUES ($1)", f"{id}-before")
                assert await copied(connection, "a", id) == [id]
        assert await stored(database) == ["a", "b", "b-before", "c", "c-before"]

    async def test_waits_for_who_writes_the_same(self, database: Database) -> None:
        async with database.raw() as first:
            await copied(first, "a")

            async def second() -> list[str]:
                async with database.raw() as connection:
                    return await copied(connection, "a", "b")

            waiting = asyncio.create_task(second())
            await until(lambda: first.fetchval(WAITING))
        assert await waiting == ["b"]
        assert await stored(database) == ["a", "b"]

    async def test_each_in_its_own_order_waits_for_nobody_for_ever(self, database: Database) -> None:
        async def write(ids: list[str]) -> list[str]:
            async with database.raw() as connection:
                return await copied(connection, *ids)

        ids = [f"{number:04}" for number in range(3000)]
        new = await asyncio.gather(write(ids), write(ids[::-1]), write(ids[1500:]), write(ids[:1600][::-1]))
        assert sorted(id for each in new for id in each) == ids == await stored(database)

    async def test_of_what_cannot_be_stored_nothing_is(self, database: Database) -> None:
        with pytest.raises(asyncpg.DataError):
            async with database.raw() as connection:
                await copied(connection, "a", "b\0")
        assert await stored(database) == []


class TestWritten:
    async def test_is_an_array_of_the_database(self, database: Database) -> None:
        async with database.raw() as connection:
            for numbers in ([], [1, -2, 2**63 - 1], [True, False]):
                assert await connection.fetchval("SELECT $1::text::bigint[]", written(numbers)) == numbers
