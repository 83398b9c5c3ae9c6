"""Rows of routes and their revisions, under many hands at once."""

import asyncio

import msgspec
import pytest
from sqlalchemy import select

from gateway.db.database import Database
from gateway.db.tables import ChangeRow, RouteRevisionRow, RouteRow
from gateway.errors import Conflict, InvalidRequest, NotFound
from gateway.protocol.lists import Cursor
from gateway.protocol.routes import Fallback, Hedge, Retries, RouteSpec, RouteTimeouts, Target
from gateway.routing import routes
from gateway.routing.route_book import restored

pytestmark = pytest.mark.anyio

SPEC = RouteSpec(
    targets=(Target(model="a", weight=0.3), Target(model="b")),
    fallbacks=(Fallback(model="c", on=("timeout",)),),
    sticky="metadata.x",
    retries=Retries(count=3),
    timeouts=RouteTimeouts(total=1.5),
    hedge=Hedge(after_ms=7),
)


async def created(database: Database, name: str = "bot") -> RouteRow:
    async with database.session() as session:
        return await routes.create(session, name, None, SPEC, created_by="key_1")


async def version(database: Database) -> int:
    async with database.session() as session:
        return await session.scalar(select(ChangeRow.version).where(ChangeRow.name == routes.MIRROR)) or 0


class TestStored:
    def test_comes_back_as_it_was_and_holds_every_field(self) -> None:
        as_json = msgspec.json.decode(msgspec.json.encode(routes.stored(SPEC)))
        assert restored(as_json) == SPEC
        assert set(as_json) == set(RouteSpec.__struct_fields__)
        assert as_json["breaker"] == {"failures": 5, "open_seconds": 10.0}


class TestChanges:
    async def test_each_tells_the_mirrors(self, database: Database) -> None:
        row = await created(database)
        assert await version(database) == 1
        async with database.session() as session:
            await routes.revise(session, await routes.route(session, row.id, lock=True), SPEC, created_by="key_2")
        assert await version(database) == 2
        async with database.session() as session:
            await routes.delete(session, await routes.route(session, row.id, lock=True))
        assert await version(database) == 3

    async def test_one_that_is_rolled_back_leaves_nothing(self, database: Database) -> None:
        row = await created(database)

        async def fails() -> None:
            async with database.session() as session:
                await routes.revise(session, await routes.route(session, row.id, lock=True), SPEC, created_by="key_2")
                await session.flush()
                raise KeyError

        with pytest.raises(KeyError):
            await fails()
        async with database.session() as session:
            assert (await routes.route(session, row.id)).revision == 1
            assert len(list(await session.scalars(select(RouteRevisionRow)))) == 1
        assert await version(database) == 1

    async def test_with_a_lock_wait_for_each_other(self, database: Database) -> None:
        row = await created(database)
        order: list[str] = []
        locked = asyncio.Event()

        async def first() -> None:
            async with database.session() as session:
                held = await routes.route(session, row.id, lock=True)
                locked.set()
                await asyncio.sleep(0.1)
                await routes.revise(session, held, SPEC, created_by="first")
                order.append("first")

        async def second() -> None:
            await locked.wait()
            async with database.session() as session:
                held = await routes.route(session, row.id, lock=True)
                order.append("second")
                await routes.revise(session, held, SPEC, created_by="second")

        await asyncio.gather(first(), second())
        assert order == ["first", "second"]
        async with database.session() as session:
            query = select(RouteRevisionRow.created_by).order_by(RouteRevisionRow.number)
            assert list(await session.scalars(query)) == ["key_1", "first", "second"]

    async def test_a_deleted_route_keeps_its_history_and_frees_its_name(self, database: Database) -> None:
        row = await created(database)
        with pytest.raises(Conflict, match=row.id):
            await created(database)
        async with database.session() as session:
            await routes.delete(session, await routes.route(session, row.id, lock=True))
        again = await created(database)
        async with database.session() as session:
            with pytest.raises(NotFound):
                await routes.route(session, row.id)
            kept = set(await session.scalars(select(RouteRevisionRow.route_id)))
            shown = [each.id for each, _ in await session.execute(routes.current())]
        assert (kept, shown) == ({row.id, again.id}, [again.id])


class TestRevision:
    async def test_of_another_number_is_refused(self, database: Database) -> None:
        row = await created(database)
        async with database.session() as session:
            assert (await routes.revision(session, row, 1)).created_by == "key_1"
            for number in (-1, 0, 2, 10**30):
                with pytest.raises(InvalidRequest, match="the revisions 1 to 1"):
                    await routes.revision(session, row, number)

    async def test_pages_hold_one_more_than_was_asked_for(self, database: Database) -> None:
        row = await created(database)
        for _ in range(3):
            async with database.session() as session:
                await routes.revise(session, await routes.route(session, row.id, lock=True), SPEC, created_by="k")
        async with database.session() as session:
            newest = await routes.revisions(session, row, Cursor(limit=2, after=None, descending=True), None)
            oldest = await routes.revisions(session, row, Cursor(limit=2, after="x", descending=False), 3)
        assert ([each.number for each in newest], [each.number for each in oldest]) == ([4, 3, 2], [4])
