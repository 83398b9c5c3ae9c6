"""The databases that tests are given one after the other: nothing is left in them, whoever had them before."""

import asyncio

import asyncpg
import sqlalchemy

from gateway.db.database import Database
from tests.conftest import own_database

ADD_PROJECT = "INSERT INTO projects (id, name, created_at) VALUES ('proj_1', 'left', now())"


def done(url: str, statement: str) -> list[asyncpg.Record]:
    """Run one statement; its rows."""

    async def run() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(
            sqlalchemy.make_url(url).set(drivername="postgresql").render_as_string(False)
        )
        try:
            return await connection.fetch(statement)
        finally:
            await connection.close()

    return asyncio.run(run())


class TestOwnDatabase:
    def test_is_used_again_and_empty(self, template_url: str) -> None:
        with own_database(template_url) as first:
            done(first, ADD_PROJECT)
            assert done(first, "SELECT 1 FROM projects")
        with own_database(template_url) as second:
            assert second == first
            assert not done(second, "SELECT 1 FROM projects")
            assert done(second, "SELECT 1 FROM alembic_version")

    def test_is_not_used_again_with_tables_of_a_tests_own(self, template_url: str) -> None:
        with own_database(template_url) as first:
            done(first, "CREATE TABLE of_a_test (id int)")
        with own_database(template_url) as second:
            assert second != first

    def test_two_at_a_time_are_two(self, template_url: str) -> None:
        with own_database(template_url) as one, own_database(template_url) as other:
            assert one != other


class TestEngines:
    async def test_a_closed_ones_is_used_again_with_connections_of_its_own(self, database_url: str) -> None:
        first = await opened(database_url)
        engine = first.engine
        await first.close()
        await first.close()
        second, third = await opened(database_url), await opened(database_url)
        assert second.engine is engine
        assert third.engine is not engine
        await second.close()
        await third.ping()
        await third.close()


async def opened(url: str) -> Database:
    database = Database(url, pool_size=3, timeout=10)
    await database.ping()
    return database
