"""Rows in memory follow the rows in the database."""

import asyncio
from typing import Any

import pytest

from gateway.db import mirror as mirror_module
from gateway.db.changes import touch
from gateway.db.database import Database
from gateway.db.mirror import Mirrors
from gateway.errors import Unavailable

pytestmark = pytest.mark.anyio


class Counting:
    """A mirror that counts its loads."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.loads = 0

    async def load(self, connection: Any) -> None:
        self.loads += 1


async def touched(database: Database, name: str) -> None:
    async with database.session() as session:
        await touch(session, name)


class TestRefresh:
    async def test_loads_everything_at_first_and_then_what_moved(self, database: Database) -> None:
        a, b = Counting("a"), Counting("b")
        mirrors = Mirrors(database, [a, b])
        await mirrors.refresh()
        await mirrors.refresh()
        assert (a.loads, b.loads) == (1, 1)
        await touched(database, "a")
        await mirrors.refresh()
        await mirrors.refresh()
        assert (a.loads, b.loads) == (2, 1)

    async def test_every_process_sees_a_change(self, database: Database) -> None:
        one, other = Counting("a"), Counting("a")
        first, second = Mirrors(database, [one]), Mirrors(database, [other])
        await asyncio.gather(first.refresh(), second.refresh())
        await touched(database, "a")
        await asyncio.gather(first.refresh(), second.refresh())
        assert (one.loads, other.loads) == (2, 2)

    async def test_a_load_that_fails_is_tried_again(self, database: Database) -> None:
        class Failing(Counting):
            async def load(self, connection: Any) -> None:
                await super().load(connection)
                if self.loads == 1:
                    raise Unavailable("away")

        mirror = Failing("a")
        mirrors = Mirrors(database, [mirror])
        with pytest.raises(Unavailable):
            await mirrors.refresh()
        await mirrors.refresh()
        assert mirror.loads == 2


class TestCatchUp:
    async def test_is_no_error_while_the_database_is_away(self) -> None:
        nowhere = Database("postgresql+asyncpg://nobody@127.0.0.1:1/none", pool_size=1, timeout=5)
        mirror = Counting("a")
        await Mirrors(nowhere, [mirror]).catch_up()
        await nowhere.close()
        assert mirror.loads == 0


class TestNextLook:
    async def test_waits_for_one_that_begins_from_now_on(self, database: Database) -> None:
        begun, go_on = asyncio.Event(), asyncio.Event()

        class Slow(Counting):
            async def load(self, connection: Any) -> None:
                begun.set()
                await go_on.wait()
                await super().load(connection)

        mirrors = Mirrors(database, [Slow("a")])
        under_way = asyncio.create_task(mirrors.refresh())
        await begun.wait()
        waiting = asyncio.create_task(mirrors.next_look())
        await asyncio.sleep(0)
        go_on.set()
        await under_way
        await asyncio.sleep(0)
        assert not waiting.done()
        await mirrors.refresh()
        await asyncio.wait_for(waiting, 0.1)

    async def test_ends_with_one_that_fails(self) -> None:
        nowhere = Database("postgresql+asyncpg://nobody@127.0.0.1:1/none", pool_size=1, timeout=5)
        mirrors = Mirrors(nowhere, [])
        waiting = asyncio.create_task(mirrors.next_look())
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await mirrors.refresh()
        await asyncio.wait_for(waiting, 0.1)
        await nowhere.close()

    async def test_waits_not_for_ever(self, database: Database) -> None:
        await asyncio.wait_for(Mirrors(database, []).next_look(), 5)

    async def test_only_so_many_wait(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(mirror_module, "MOST_WAITING", 1)
        mirrors = Mirrors(database, [])
        first = asyncio.create_task(mirrors.next_look())
        await asyncio.sleep(0)
        await asyncio.wait_for(mirrors.next_look(), 0.1)
        assert not first.done()
        await mirrors.refresh()
        await first


class TestTouch:
    async def test_of_a_transaction_that_is_rolled_back_tells_nobody(self, database: Database) -> None:
        mirror = Counting("a")
        mirrors = Mirrors(database, [mirror])
        await mirrors.refresh()

        async def fails() -> None:
            async with database.session() as session:
                await touch(session, "a")
                raise KeyError

        with pytest.raises(KeyError):
            await fails()
        await mirrors.refresh()
        assert mirror.loads == 1

    async def test_by_many_at_once_is_never_lost(self, database: Database) -> None:
        mirror = Counting("a")
        mirrors = Mirrors(database, [mirror])
        await mirrors.refresh()
        await asyncio.gather(*(touched(database, "a") for _ in range(4)))
        await mirrors.refresh()
        assert (mirror.loads, mirrors._seen["a"]) == (2, 4)
