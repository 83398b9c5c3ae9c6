"""The schema: what the migrations build is what the tables say."""

import asyncio

import pytest
from alembic import command
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.db.base import Base
from gateway.db.database import Database
from gateway.db.migrate import alembic_config, upgrade

pytestmark = pytest.mark.anyio


def downgrade(connection: Connection) -> None:
    command.downgrade(alembic_config(connection), "base")
    connection.commit()


async def run(engine: AsyncEngine, work) -> object:  # type: ignore[no-untyped-def]
    async with engine.connect() as connection:
        return await connection.run_sync(work)


def table_names(connection: Connection) -> set[str]:
    """Not those that are parts of another."""
    parts = connection.execute(text("SELECT relname::text FROM pg_class WHERE relispartition")).scalars()
    return set(inspect(connection).get_table_names()) - set(parts)


class TestUpgrade:
    async def test_builds_exactly_what_the_tables_say(self, database: Database) -> None:
        await run(database.engine, lambda connection: command.check(alembic_config(connection)))

    async def test_goes_down_to_nothing_and_up_again(self, database: Database) -> None:
        await run(database.engine, downgrade)
        assert await run(database.engine, table_names) == {"alembic_version"}
        await upgrade(database.engine)
        assert await run(database.engine, table_names) == {"alembic_version", *Base.metadata.tables}

    async def test_two_at_once_take_turns(self, database: Database) -> None:
        await run(database.engine, downgrade)
        await asyncio.gather(upgrade(database.engine), upgrade(database.engine), upgrade(database.engine))
        assert await run(database.engine, table_names) == {"alembic_version", *Base.metadata.tables}

    async def test_leaves_no_lock_behind(self, database: Database) -> None:
        await upgrade(database.engine)
        async with database.session() as session:
            held = await session.scalar(text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"))
        assert held == 0
