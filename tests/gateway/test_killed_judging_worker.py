"""A worker that is killed while it judges, as a process: another one goes on, and nothing is said or paid for twice."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from gateway.db.database import Database
from gateway.db.tables import ExchangeRow, JudgingTaskRow, JudgmentRow
from gateway.judgments import criteria
from gateway.kit.clock import now
from gateway.protocol.criteria import CriterionSpec
from gateway.protocol.judges import LlmSpec, Watch
from tests.fakes.judging import World, material
from tests.fakes.upstream import Upstream
from tests.gateway.conftest import RunningGateway, StartGateway
from tests.gateway.workers import SECONDS, RunningWorker, StartWorker, let_leases_run_out, workers_of
from tests.polling import until

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

SAMPLED = 30
"""Calls with two choices each."""
PAIRS = 20
"""Compared in both orders."""
KEPT = CriterionSpec(name="kept", kind="boolean", description="Is it kept?")


@pytest.fixture
def gateway(start_gateway: StartGateway) -> RunningGateway:
    return start_gateway(encryption_key="ab" * 32)


@pytest.fixture
async def database(gateway: RunningGateway) -> AsyncIterator[Database]:
    database = Database(gateway.database_url, pool_size=2, timeout=10)
    yield database
    await database.close()


@pytest.fixture
def world(gateway: RunningGateway, database: Database) -> World:
    return World(database, gateway.key["project_id"])


@pytest.fixture
def start_worker(gateway: RunningGateway) -> Iterator[StartWorker]:
    with workers_of(gateway) as start:
        yield start


async def sampled(world: World) -> set[tuple[str, int]]:
    """Answers that a judge watches; exchange and choice of each."""
    async with world.database.session() as session:
        await criteria.find_or_make(session, world.project_id, KEPT, "key_1")
    before = now() - timedelta(minutes=1)
    await world.judge(LlmSpec(model="assistant"), name="watching", criterion="kept", watch=Watch(), since=before)
    ids = [await world.answer(f"left of {number}", f"right of {number}") for number in range(SAMPLED)]
    return {(id, choice) for id in ids for choice in (0, 1)}


async def compared(world: World) -> set[str]:
    """Pairs that were asked for; the first exchange of each. They began too long ago for anybody to watch."""
    _, version = await world.judge(LlmSpec(model="assistant"), name="comparing", criterion="preference")
    long_ago = now() - timedelta(days=3)
    pairs = [
        (await world.answer(f"one of {number}", at=long_ago), await world.answer(f"other of {number}", at=long_ago))
        for number in range(PAIRS)
    ]
    await world.ask(version, *pairs)
    return {first for first, _ in pairs}


async def judged(world: World) -> int:
    async with world.database.session() as session:
        whole = (JudgmentRow.order_shown.is_(None), JudgmentRow.judge_version_id.is_not(None))
        return await session.scalar(select(func.count()).where(*whole)) or 0


async def begun(world: World, worker: RunningWorker, least: int) -> None:
    """Kill a worker that is at it."""

    async def some() -> bool:
        return await judged(world) >= least

    await until(some, SECONDS)
    worker.kill()


def questions(upstream: Upstream) -> Counter[str]:
    """What the judges were shown -> how often."""
    shown = [material(body) for body in upstream.requests]
    answers = [each.get("answer") or [each["first_answer"], each["second_answer"]] for each in shown]
    return Counter(str(each) for each in answers)


async def test_every_answer_has_one_row_and_every_question_is_asked_once_but_those_under_way(
    gateway: RunningGateway, start_worker: StartWorker, upstream: Upstream, world: World
) -> None:
    singles, firsts = await sampled(world), await compared(world)
    all_of_them = len(singles) + len(firsts)
    for least in (4, 12):
        worker = start_worker(judges="1")
        await begun(world, worker, least)
        assert await judged(world) < all_of_them
        await let_leases_run_out(gateway, JudgingTaskRow)
    start_worker(judges="4")

    async def done() -> bool:
        tasks = await world.tasks()
        return len(tasks) == all_of_them and all(task.done_at for task in tasks)

    await until(done, SECONDS)
    async with world.database.session() as session:
        rows = list(await session.scalars(select(JudgmentRow).where(JudgmentRow.project_id == world.project_id)))
        calls = set(await session.scalars(select(ExchangeRow.id).where(ExchangeRow.purpose == "judge")))
    whole = [row for row in rows if row.order_shown is None]
    assert Counter((row.exchange_id, row.choice_index) for row in whole if not row.other_exchange_id) == Counter(
        singles
    )
    assert Counter(row.exchange_id for row in whole if row.other_exchange_id) == Counter(firsts)
    assert {row.status for row in rows} == {"ok"}
    orders = [row for row in rows if row.order_shown]
    assert Counter((row.exchange_id, row.order_shown) for row in orders) == Counter(
        (id, order) for id in firsts for order in ("ab", "ba")
    )
    asked = questions(upstream)
    assert len(asked) == len(singles) + 2 * len(firsts)
    assert asked.total() <= len(asked) + 2  # a call under way each time
    named = {row.judge_exchange_id for row in rows} - {None}
    assert len(named) == len(asked)
    assert len(calls - named) <= 2
