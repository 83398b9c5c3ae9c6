"""Fewer answers pass than before, so much fewer that it is no chance."""

from typing import Any

import pytest

from gateway.db.database import Database
from gateway.db.tables import CriterionRow
from gateway.judgments import drift
from gateway.judgments.drift import Drift, Share
from gateway.kit.clock import now
from tests.fakes.judging import World
from tests.fakes.many_judgments import judged

pytestmark = pytest.mark.anyio

TODAY, BEFORE, LONG_AGO = 2, 100, 24 * 30


@pytest.fixture
async def world(database: Database) -> World:
    return await World(database).open()


@pytest.fixture
async def criterion(world: World) -> CriterionRow:
    return await world.criterion()


async def worse(database: Database) -> list[Drift]:
    async with database.session() as session:
        return await drift.worse(session, now())


async def test_a_fall_is_found_with_both_shares(database: Database, criterion: CriterionRow) -> None:
    await judged(database, criterion, 20, 50, hours=TODAY)
    await judged(database, criterion, 90, 100, hours=BEFORE)
    [found] = await worse(database)
    assert (found.criterion_id, found.criterion, found.source, found.judge) == (criterion.id, "helpful", "human", None)
    assert (found.now, found.before) == (Share(0.4, 50), Share(0.9, 100))


async def test_intervals_that_meet_are_no_fall(database: Database, criterion: CriterionRow) -> None:
    """26 of 40 is at most 0.779, 85 of 100 at least 0.767: these meet; 25 of 40 is at most 0.758."""
    await judged(database, criterion, 26, 40, hours=TODAY)
    await judged(database, criterion, 85, 100, hours=BEFORE)
    assert await worse(database) == []
    await judged(database, criterion, 25, 40, hours=TODAY, source="external")
    await judged(database, criterion, 85, 100, hours=BEFORE, source="external")
    assert [each.source for each in await worse(database)] == ["external"]


@pytest.mark.parametrize(("today", "before"), [(29, 100), (100, 29)])
async def test_of_a_few_answers_nothing_is_told(
    database: Database, criterion: CriterionRow, today: int, before: int
) -> None:
    await judged(database, criterion, 0, today, hours=TODAY)
    await judged(database, criterion, before, before, hours=BEFORE)
    assert await worse(database) == []


async def test_a_rise_is_none(database: Database, criterion: CriterionRow) -> None:
    await judged(database, criterion, 50, 50, hours=TODAY)
    await judged(database, criterion, 10, 100, hours=BEFORE)
    assert await worse(database) == []


@pytest.mark.parametrize(
    "left_out",
    [
        {"status": "error"},
        {"run": "run_1"},
        {"superseded": True},
        {"identifier": "queue_1"},
        {"hours": LONG_AGO},
        {"source": "rule"},
        {"judge": "version"},
    ],
    ids=str,
)
async def test_what_says_nothing_of_it_is_left_out(
    world: World, database: Database, criterion: CriterionRow, left_out: dict[str, Any]
) -> None:
    """What came before is not what it is held against."""
    if "judge" in left_out:
        _, version = await world.judge()
        left_out = {"judge": version.id, "source": "human"}
    await judged(database, criterion, 0, 50, hours=TODAY)
    before: dict[str, Any] = {"hours": BEFORE, **left_out}
    await judged(database, criterion, 100, 100, **before)
    assert await worse(database) == []


async def test_a_random_sample_that_people_reviewed_counts(database: Database, criterion: CriterionRow) -> None:
    await judged(database, criterion, 0, 50, hours=TODAY, identifier="queue_1", drawn=True)
    await judged(database, criterion, 100, 100, hours=BEFORE)
    assert len(await worse(database)) == 1


async def test_an_answer_counts_once_however_often_it_was_judged(database: Database, criterion: CriterionRow) -> None:
    await judged(database, criterion, 0, 60, hours=TODAY, repeats=3)
    await judged(database, criterion, 100, 100, hours=BEFORE)
    assert await worse(database) == []
    await judged(database, criterion, 0, 10, hours=TODAY + 1)
    [found] = await worse(database)
    assert found.now == Share(0.0, 30)


async def test_a_judge_has_its_name(world: World, database: Database, criterion: CriterionRow) -> None:
    _, version = await world.judge()
    await judged(database, criterion, 0, 50, hours=TODAY, source="llm", judge=version.id)
    await judged(database, criterion, 100, 100, hours=BEFORE, source="llm", judge=version.id)
    assert [(each.judge, each.judge_version_id) for each in await worse(database)] == [("j", version.id)]
