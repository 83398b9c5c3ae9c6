"""How far judges are behind, and that it is told once each time."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from gateway.db.database import Database
from gateway.db.driver import driver_of
from gateway.db.tables import JudgeRow, JudgingTaskRow
from gateway.judging import lag, work
from gateway.judging.waiting import waiting_tasks
from gateway.kit.clock import now
from tests.fakes.judging import World

pytestmark = pytest.mark.anyio

LIMIT = timedelta(minutes=15)


async def age(database: Database, minutes: float) -> None:
    """As if everything that waits had been waiting for so long."""
    async with database.session() as session:
        for row in await session.scalars(select(JudgingTaskRow)):
            row.created_at = now() - timedelta(minutes=minutes)


async def turned(database: Database) -> list[str]:
    async with database.session() as session:
        return [each.judge.name for each in await lag.turned_late(session, LIMIT)]


async def test_counts_what_waits_what_is_under_way_and_what_was_tried(world: World, database: Database) -> None:
    judge, version = await world.judge()
    await world.ask(version, *(f"req_{number}" for number in range(5)))
    await age(database, 2)
    async with database.session() as session:
        done, postponed, *_ = await work.claim(session, "one", 3)
        await work.finish(session, done)
        await work.postpone(session, postponed)
    async with database.session() as session:
        found = await lag.of_judge(session, judge)
        judged = await lag.judged_since(session, judge.id, now() - timedelta(hours=1))
        overall = await waiting_tasks(await driver_of(session))
    assert (found.waiting, found.under_way, found.tried, judged) == (4, 1, 1, 1)
    assert 115 < found.seconds(now()) < 180
    assert overall[0] == 4
    assert 115 < overall[1] < 180


async def test_nothing_waits(world: World, database: Database) -> None:
    judge, _ = await world.judge()
    async with database.session() as session:
        found = await lag.of_judge(session, judge)
        assert (found.waiting, found.seconds(now())) == (0, 0.0)
        assert await waiting_tasks(await driver_of(session)) == (0, 0.0)


async def test_a_judge_that_lags_is_told_of_once_until_it_has_caught_up(world: World, database: Database) -> None:
    judge, version = await world.judge()
    await world.ask(version, "req_1")
    assert await turned(database) == []
    await age(database, 20)
    assert await turned(database) == ["j"]
    assert await turned(database) == []
    async with database.session() as session:
        (task,) = await work.claim(session, "one", 1)
        await work.finish(session, task)
    assert await turned(database) == []
    async with database.session() as session:
        assert (await session.get_one(JudgeRow, judge.id)).lagging_since is None
    await world.ask(version, "req_2")
    await age(database, 20)
    assert await turned(database) == ["j"]
