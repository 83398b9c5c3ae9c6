"""Keyset paging: each row once, whatever else happens."""

import pytest
from sqlalchemy import select

from gateway.db.database import Database
from gateway.db.pages import Page, fetch_page
from gateway.db.tables import ProjectRow
from gateway.errors import InvalidRequest
from gateway.kit.clock import from_unix
from gateway.protocol.lists import Cursor

pytestmark = pytest.mark.anyio

ALL = select(ProjectRow)


async def add(database: Database, *rows: tuple[str, int]) -> None:
    async with database.session() as session:
        for id, created_at in rows:
            session.add(ProjectRow(id=id, name=id, created_at=from_unix(created_at), archived_at=None))


async def page(
    database: Database, limit: int = 2, after: str | None = None, *, descending: bool = True, query=ALL
) -> Page[ProjectRow]:  # type: ignore[no-untyped-def]
    async with database.session() as session:
        return await fetch_page(session, query, ProjectRow, Cursor(limit=limit, after=after, descending=descending))


async def walk(database: Database, *, descending: bool) -> list[str]:
    ids: list[str] = []
    after = None
    while True:
        found = await page(database, after=after, descending=descending)
        ids += [row.id for row in found.rows]
        if not found.has_more:
            return ids
        after = ids[-1]


class TestFetchPage:
    async def test_three_pages_show_every_row_once(self, database: Database) -> None:
        await add(database, ("a", 1), ("b", 2), ("e", 3), ("c", 3), ("d", 3))  # three in the same second
        assert await walk(database, descending=True) == ["e", "d", "c", "b", "a"]
        assert await walk(database, descending=False) == ["a", "b", "c", "d", "e"]

    async def test_rows_added_in_between_move_nothing(self, database: Database) -> None:
        await add(database, ("a", 1), ("b", 2), ("c", 3))
        first = await page(database)
        await add(database, ("d", 4), ("bb", 2))
        second = await page(database, after=first.rows[-1].id)
        assert [row.id for row in first.rows + second.rows] == ["c", "b", "a"]

    async def test_before_is_the_page_in_front_in_the_same_order(self, database: Database) -> None:
        await add(database, ("a", 1), ("b", 2), ("e", 3), ("c", 3), ("d", 3))

        async def ids(**places: object) -> tuple[list[str], bool]:
            cursor = Cursor(**({"limit": 2, "after": None, "descending": True} | places))  # type: ignore[arg-type]
            async with database.session() as session:
                found = await fetch_page(session, ALL, ProjectRow, cursor)
            return [row.id for row in found.rows], found.has_more

        assert await ids(before="b") == (["d", "c"], True)
        assert await ids(before="d") == (["e"], False)
        assert await ids(before="e") == ([], False)
        assert await ids(before="d", descending=False) == (["b", "c"], True)
        assert await ids(after="e", before="a", limit=1) == (["d"], True)
        with pytest.raises(InvalidRequest) as refused:
            await ids(before="x")
        assert refused.value.param == "before"

    async def test_says_whether_there_is_more(self, database: Database) -> None:
        await add(database, ("a", 1), ("b", 2))
        assert not (await page(database, 2)).has_more
        assert (await page(database, 1)).has_more
        assert not (await page(database, 1, "a")).has_more

    async def test_an_empty_list_is_an_empty_page(self, database: Database) -> None:
        assert await page(database) == Page([], has_more=False)

    async def test_an_unknown_cursor_is_refused(self, database: Database) -> None:
        await add(database, ("a", 1))
        with pytest.raises(InvalidRequest, match="no object with id 'x' is in this list") as raised:
            await page(database, after="x")
        assert raised.value.param == "after"

    async def test_a_cursor_of_another_list_is_refused(self, database: Database) -> None:
        await add(database, ("a", 1), ("b", 2))
        with pytest.raises(InvalidRequest):
            await page(database, after="a", query=ALL.where(ProjectRow.name == "b"))
