"""Sums of the log by hour and day, and how long answers took; made anew when they are wrong."""

import asyncio
import math
from typing import Any

import pytest
from sqlalchemy import select, text

from gateway.db.database import Database
from gateway.db.tables import AnswerTimesHourRow, TrafficDayRow, TrafficHourRow
from gateway.kit.clock import from_unix
from gateway.metering import traffic_rebuild
from gateway.metering.traffic_rebuild import compare_traffic, rebuild_traffic
from gateway.metering.traffic_rollups import COUNTS, TABLES
from tests.gateway.metering.ledger_rows import DAY, HOUR, MIDNIGHT
from tests.gateway.metering.logged_calls import log

pytestmark = pytest.mark.anyio

SPOILT = {
    "a wrong sum": "UPDATE traffic_hours SET cost_nano = cost_nano + 1 WHERE dimension = 'model'",
    "a wrong histogram": "UPDATE answer_times_days SET counts[1] = counts[1] + 1",
    "lost rows": "DELETE FROM traffic_days WHERE dimension = 'total'",
    "everything lost": "DELETE FROM traffic_hours; DELETE FROM traffic_days; DELETE FROM answer_times_hours; DELETE FROM answer_times_days",
    "rows that nothing came of": "UPDATE traffic_hours SET hour = hour + interval '5 hours'",
}


async def cells(database: Database, row: Any = TrafficHourRow) -> dict[tuple[str, str, str], Any]:
    async with database.session() as session:
        return {(each.project_id, each.dimension, each.value): each for each in await session.scalars(select(row))}


async def total(database: Database) -> dict[str, int]:
    found = (await cells(database))["", "total", ""]
    return {name: getattr(found, name) for name in COUNTS}


async def shown(database: Database) -> list[Any]:
    async with database.session() as session:
        return [
            tuple(row)
            for table in TABLES
            for row in await session.execute(text(f"SELECT * FROM {table.name} ORDER BY {', '.join(table.keys)}"))
        ]


async def different(database: Database) -> dict[str, int]:
    return {each.table: each.different for each in await compare_traffic(database)}


class TestPosting:
    async def test_each_call_counts_under_everything_it_is_asked_by(self, database: Database) -> None:
        await log(
            database, {}, {"project_id": "proj_2", "api_key_id": "key_2", "served_model": "n", "purpose": "judge"}
        )
        found = await cells(database)
        assert found["", "total", ""].requests == 2
        for project, key, model, purpose in (("proj_1", "key_1", "m", ""), ("proj_2", "key_2", "n", "judge")):
            for scope in ("", project):
                own = {"project_id": project, "api_key_id": key, "model": model, "purpose": purpose}
                assert [found[scope, name, value].requests for name, value in own.items()] == [1, 1, 1, 1]
        assert found["", "upstream", "fake"].requests == 2
        assert ("proj_1", "model", "n") not in found

    async def test_what_became_of_calls(self, database: Database) -> None:
        await log(
            database,
            {},
            {"outcome": "refused", "status": 429, "served_model": None},
            {"outcome": "refused", "status": 503},
            {"outcome": "failed", "status": 502},
            {"outcome": "failed", "status": 200},
            {"outcome": "failed", "status": 400},
            {"outcome": "client_left", "status": 499},
            {"attempts": [{"model": "m"}, {"model": "n"}]},
            {"priced": False, "cost_nano": None},
        )
        sums = await total(database)
        assert sums["requests"] == 9
        assert (sums["client_errors"], sums["server_errors"], sums["upstream_errors"]) == (2, 1, 2)
        assert (sums["client_left"], sums["fallbacks"], sums["unpriced"]) == (1, 1, 1)
        assert (sums["input_tokens"], sums["cached_input_tokens"], sums["output_tokens"]) == (108, 36, 36)
        assert sums["cost_nano"] == 8 * 82_000

    async def test_times_are_of_completed_calls_by_bucket(self, database: Database) -> None:
        times = (0.2, 12.5, 12.6, 300.0, 1e12)
        refused = {"outcome": "refused", "status": 429, "duration_ms": 77.0}
        await log(database, *({"duration_ms": each} for each in times), refused)
        await log(database, {"duration_ms": 300.0, "first_token_ms": 20.0, "created_at": MIDNIGHT + 99})
        async with database.session() as session:
            rows = await session.scalars(
                select(AnswerTimesHourRow).filter_by(project_id="", dimension="total", value="")
            )
            found = {row.measure: dict(zip(row.buckets, row.counts, strict=True)) for row in rows}
        assert found["first_token"] == {bucket(20): 1}
        assert found["latency"] == {0: 1, bucket(12.5): 2, bucket(300): 2, bucket(1e9): 1}

    async def test_times_that_are_no_numbers_do_not_hold_up_the_log(self, database: Database) -> None:
        await log(database, {"duration_ms": math.nan}, {"duration_ms": math.inf}, {"duration_ms": -1.0})
        assert (await total(database))["requests"] == 3

    async def test_hours_and_days_begin_in_utc_and_add_up(self, database: Database) -> None:
        moments = (MIDNIGHT - 0.5, MIDNIGHT, MIDNIGHT + HOUR - 0.5, MIDNIGHT + DAY)
        for number, moment in enumerate(moments):
            await log(database, {"created_at": moment, "duration_ms": 10.0 + number})
        async with database.session() as session:
            own = {"project_id": "proj_1", "dimension": "total"}
            hours = await session.scalars(select(TrafficHourRow).filter_by(**own).order_by("hour"))
            assert [(row.hour, row.requests) for row in hours] == [
                (from_unix(MIDNIGHT - HOUR), 1), (from_unix(MIDNIGHT), 2), (from_unix(MIDNIGHT + DAY), 1)
            ]  # fmt: skip
            days = await session.scalars(select(TrafficDayRow).filter_by(**own).order_by("day"))
            assert [row.requests for row in days] == [1, 2, 1]


def bucket(ms: float) -> int:
    return math.floor(math.log(ms) / math.log(1.1))


class TestRebuild:
    async def test_what_was_posted_agrees(self, database: Database) -> None:
        await some(database)
        assert await different(database) == {table.name: 0 for table in TABLES}

    @pytest.mark.parametrize("spoilt", SPOILT.values(), ids=SPOILT)
    async def test_mends_what_is_different(self, spoilt: str, database: Database) -> None:
        await some(database)
        right = await shown(database)
        async with database.session() as session:
            for statement in spoilt.split("; "):
                await session.execute(text(statement))
        assert await shown(database) != right
        found = await rebuild_traffic(database)
        assert sum(each.different for each in found) >= 1
        assert all(each.differences for each in found if each.different)
        assert await shown(database) == right
        assert not any((await different(database)).values())

    async def test_what_is_posted_afterwards_adds_up(self, database: Database) -> None:
        await some(database)
        async with database.session() as session:
            await session.execute(text("DELETE FROM traffic_hours"))
        await rebuild_traffic(database)
        await log(database, {"created_at": MIDNIGHT + 2 * HOUR + 9, "duration_ms": 12.5})
        assert not any((await different(database)).values())

    async def test_nobody_waits_for_it(self, database: Database) -> None:
        """Nor does it wait for calls that come to other days."""
        await some(database)
        async with database.session() as session:
            await session.execute(
                text("UPDATE traffic_days SET requests = requests + 1 WHERE day = :day"),
                {"day": from_unix(MIDNIGHT + DAY)},
            )
        async with database.raw() as connection:
            await connection.execute(
                "UPDATE traffic_hours SET requests = requests WHERE hour < $1", from_unix(MIDNIGHT + DAY)
            )
            async with asyncio.timeout(60):
                found = await rebuild_traffic(database)
        assert sum(each.different for each in found) > 0
        assert not any((await different(database)).values())

    async def test_what_came_while_it_compared_is_kept(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await some(database)
        async with database.session() as session:
            for table in TABLES:
                await session.execute(text(f"DELETE FROM {table.name} WHERE dimension = 'total'"))
            await session.execute(
                text("UPDATE answer_times_hours SET counts[1] = counts[1] + 3 WHERE dimension = 'model'")
            )
        compare = traffic_rebuild._compare
        came: list[int] = []

        async def slow(session: Any, day: Any) -> Any:
            found = await compare(session, day)
            if not came:
                came.append(1)
                await log(database, {"duration_ms": 900.0}, {"duration_ms": 3.0})
            return found

        monkeypatch.setattr(traffic_rebuild, "_compare", slow)
        await rebuild_traffic(database)
        assert came
        assert not any((await different(database)).values())

    @pytest.mark.parametrize("project", ["proj_1", ""], ids=["of a project", "of everybody"])
    async def test_sums_of_what_retention_removed_stay(self, database: Database, project: str) -> None:
        """Of a project, and with it of everybody; others are mended."""
        await log(database, {}, {"project_id": "proj_2"}, {"created_at": MIDNIGHT + DAY})
        right = await shown(database)
        async with database.session() as session:
            values = {"project": project, "until": from_unix(MIDNIGHT + DAY)}
            await session.execute(
                text("INSERT INTO retention_marks VALUES (:project, 'exchanges', :until, NULL)"), values
            )
            await session.execute(
                text("DELETE FROM exchanges WHERE project_id = 'proj_1' AND created_at < :until"), values
            )
        await rebuild_traffic(database)
        assert await shown(database) == right
        async with database.session() as session:
            await session.execute(text("UPDATE traffic_hours SET requests = requests + 1 WHERE project_id = 'proj_2'"))
            await session.execute(text("UPDATE traffic_days SET requests = 9 WHERE day = :until"), values)
        found = {each.table: each.different for each in await rebuild_traffic(database)}
        assert found["traffic_days"] > 0
        assert (found["traffic_hours"] > 0) is (project != "")
        if project:
            assert await shown(database) == right

    async def test_tells_each_difference(self, database: Database) -> None:
        await some(database)
        async with database.session() as session:
            await session.execute(
                text(
                    "UPDATE traffic_days SET cost_nano = 5 WHERE dimension = 'total' AND project_id = '' AND day = :day"
                ),
                {"day": from_unix(MIDNIGHT)},
            )
            await session.execute(
                text(
                    "DELETE FROM answer_times_days WHERE dimension = 'total' AND project_id = '' AND day = :day AND measure = 'latency'"
                ),
                {"day": from_unix(MIDNIGHT)},
            )
        found = {each.table: each for each in await compare_traffic(database)}
        (wrong,), (missing,) = found["traffic_days"].differences, found["answer_times_days"].differences
        assert wrong.what == "2026-11-21T00:00:00+00:00 project_id= dimension=total value="
        assert wrong.before == {"cost_nano": 5}
        assert (wrong.truly or {}).keys() == {"cost_nano"}
        assert missing.what.endswith("value= measure=latency")
        assert (missing.before, missing.truly) == (None, {"answers": 3})
        assert found["traffic_days"].rows == len(await cells_of_days(database))


async def cells_of_days(database: Database) -> list[Any]:
    async with database.session() as session:
        return list(await session.execute(text("SELECT 1 FROM traffic_days")))


async def some(database: Database) -> None:
    await log(database, {}, {"duration_ms": 900.0}, {"served_model": None, "outcome": "refused", "status": 404})
    await log(database, {"created_at": MIDNIGHT + 2 * HOUR}, {"created_at": MIDNIGHT + DAY, "first_token_ms": 3.0})
