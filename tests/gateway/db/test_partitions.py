"""Tables in monthly parts."""

from datetime import UTC, datetime

import pytest
from alembic import command
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db import partitions
from gateway.db.database import Database
from gateway.db.migrate import alembic_config, upgrade
from gateway.db.partitions import EXCHANGES, PARTITIONED, Busy, add_months, drop_before, next_month, parts
from gateway.kit.clock import now
from gateway.kit.ids import first_request_id

pytestmark = pytest.mark.anyio

SOON = datetime(2031, 1, 31, 12, tzinfo=UTC)


def at(*date: int) -> str:
    return first_request_id(int(datetime(*date, tzinfo=UTC).timestamp()))  # type: ignore[arg-type]


async def log(session: AsyncSession, *ids: str) -> None:
    for id in ids:
        await session.execute(
            text("""INSERT INTO exchanges (id, created_at, project_id, api_key_id, endpoint, requested_model, streamed, outcome,
                status, request, usage_estimated, priced, duration_ms) VALUES (:id, now(), 'p', 'k', '/chat/completions',
                'm', false, 'completed', 200, '', false, false, 1)"""),
            {"id": id},
        )


async def place_of(session: AsyncSession, id: str) -> str | None:
    return await session.scalar(text("SELECT tableoid::regclass::text FROM exchanges WHERE id = :id"), {"id": id})


class TestMigration:
    @pytest.mark.parametrize("beyond", [(), ("zzz",)], ids=["all proven", "ids of another time"])
    async def test_the_old_table_becomes_the_first_part_as_it_is(
        self, database: Database, beyond: tuple[str, ...]
    ) -> None:
        old = ("not-ours", at(2025, 3, 1) + "a" * 16, first_request_id(int(now().timestamp())))
        async with database.engine.connect() as connection:
            await connection.run_sync(lambda sync: command.downgrade(alembic_config(sync), "0011"))
            await connection.commit()
        async with database.session() as session:
            await log(session, *old, *beyond)
            oids = await session.scalar(text("SELECT ARRAY['exchanges'::regclass::oid, 'pk_exchanges'::regclass]"))
        await upgrade(database.engine)
        async with database.session() as session:
            same = "SELECT ARRAY['exchanges_earlier'::regclass::oid, 'pk_exchanges_earlier'::regclass]"
            assert await session.scalar(text(same)) == oids
            assert {await place_of(session, id) for id in old} == {"exchanges_earlier"}
            assert {await place_of(session, id) for id in beyond} <= {"exchanges_later"}
            checks = "SELECT count(*) FROM pg_constraint WHERE conname = 'earlier'"
            assert await session.scalar(text(checks)) == 0

    async def test_indexes_are_those_that_were_there(self, database: Database) -> None:
        """Else each would be built, which takes as long as the log is."""
        async with database.session() as session:
            loose = await session.scalar(
                text("""SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
                    WHERE t.relname IN ('exchanges_earlier', 'exchange_texts_earlier') AND NOT c.relispartition""")
            )
        assert loose == 0

    async def test_goes_down_with_all_rows(self, database: Database) -> None:
        ids = {at(2025, 3, 1), "zzz", *(at(2031, month, 1) for month in (1, 2, 3))}
        async with database.session() as session:
            await add_months(session, EXCHANGES, SOON)
            await log(session, *ids)
        async with database.engine.connect() as connection:
            await connection.run_sync(lambda sync: command.downgrade(alembic_config(sync), "0011"))
            await connection.commit()
        async with database.session() as session:
            assert set(await session.scalars(text("SELECT id FROM exchanges"))) == ids
            assert await session.scalar(text("SELECT relkind::text FROM pg_class WHERE relname = 'exchanges'")) == "r"


class TestParts:
    @pytest.mark.parametrize("table", PARTITIONED)
    async def test_every_id_has_its_place(self, database: Database, table: str) -> None:
        async with database.session() as session:
            await add_months(session, table, SOON)
            found = await parts(session, table)
        assert found[0].first is None
        assert found[-1].end is None
        assert [each.end for each in found[:-1]] == [each.first for each in found[1:]]

    def test_the_month_after_december_is_january(self) -> None:
        assert next_month(SOON) == datetime(2031, 2, 1, tzinfo=UTC)
        assert next_month(datetime(2030, 12, 31, 23, 59, 59, tzinfo=UTC)) == datetime(2031, 1, 1, tzinfo=UTC)


class TestAddMonths:
    async def test_each_until_the_one_that_is_wanted(self, database: Database) -> None:
        async with database.session() as session:
            made = await add_months(session, EXCHANGES, SOON)
            found = await parts(session, EXCHANGES)
            assert await add_months(session, EXCHANGES, SOON) == 0
        assert made == len(found) - 2
        assert [(each.name, each.first, each.end) for each in found[-2:]] == [
            ("exchanges_2031_01", at(2031, 1, 1), at(2031, 2, 1)),
            ("exchanges_later", at(2031, 2, 1), None),
        ]

    async def test_what_came_before_its_month_was_made_moves(self, database: Database) -> None:
        january, february = at(2031, 1, 15), at(2031, 2, 1)
        async with database.session() as session:
            await log(session, january, february)
            assert await place_of(session, january) == "exchanges_later"
            await add_months(session, EXCHANGES, SOON)
            assert await place_of(session, january) == "exchanges_2031_01"
            assert await place_of(session, february) == "exchanges_later"

    async def test_whoever_uses_the_table_for_long_is_left_alone(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(partitions, "PATIENCE", "10ms")
        async with database.session() as reader, database.session() as session:
            await reader.execute(text("SELECT count(*) FROM exchanges"))
            before = await parts(session, EXCHANGES)
            with pytest.raises(Busy):
                await add_months(session, EXCHANGES, SOON)
            assert await parts(session, EXCHANGES) == before  # and the transaction goes on


class TestDropBefore:
    async def test_parts_that_ended_go_and_no_others(self, database: Database) -> None:
        old, first, second = at(2025, 3, 1), at(2031, 1, 15), at(2031, 2, 15)
        async with database.session() as session:
            await add_months(session, EXCHANGES, datetime(2031, 3, 1, tzinfo=UTC))
            await log(session, old, first, second, "zzz")
            await drop_before(session, EXCHANGES, at(2031, 2, 1))
            assert list(await session.scalars(text("SELECT id FROM exchanges ORDER BY id"))) == [second, "zzz"]
            assert [each.name for each in await parts(session, EXCHANGES)] == [
                "exchanges_earlier", "exchanges_2031_02", "exchanges_2031_03", "exchanges_later",
            ]  # fmt: skip

    async def test_a_month_that_has_not_ended_by_then_stays(self, database: Database) -> None:
        async with database.session() as session:
            await add_months(session, EXCHANGES, SOON)
            await log(session, at(2031, 1, 15))
            await drop_before(session, EXCHANGES, at(2031, 1, 31))
            assert await place_of(session, at(2031, 1, 15)) == "exchanges_2031_01"

    async def test_what_comes_late_has_its_place(self, database: Database) -> None:
        async with database.session() as session:
            await add_months(session, EXCHANGES, SOON)
            await drop_before(session, EXCHANGES, at(2031, 2, 1))
            await log(session, at(2031, 1, 15))
            assert await place_of(session, at(2031, 1, 15)) == "exchanges_earlier"

    async def test_nothing_to_drop(self, database: Database) -> None:
        async with database.session() as session:
            before = await parts(session, EXCHANGES)
            assert await drop_before(session, EXCHANGES, at(2020, 1, 1)) == 0
            assert await parts(session, EXCHANGES) == before


class TestLists:
    async def test_parts_are_read_one_after_the_other(self, database: Database) -> None:
        """Newest first: what a list does not need of older ones is not looked for."""
        async with database.session() as session:
            await add_months(session, EXCHANGES, SOON)
            await session.execute(text("SET LOCAL enable_sort = off"))
            plan = "\n".join(
                await session.scalars(
                    text("EXPLAIN SELECT id FROM exchanges WHERE project_id = 'p' ORDER BY id DESC LIMIT 20")
                )
            )
        assert "Append" in plan
        assert "Merge Append" not in plan

    async def test_an_exchange_is_looked_for_in_its_month_alone(self, database: Database) -> None:
        async with database.session() as session:
            await add_months(session, EXCHANGES, SOON)
            query = f"EXPLAIN SELECT 1 FROM exchanges WHERE id = '{at(2031, 1, 15)}'"
            plan = "\n".join(await session.scalars(text(query)))
        assert "exchanges_2031_01" in plan
        assert "exchanges_earlier" not in plan
