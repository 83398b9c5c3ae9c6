"""Which answers are judged: a share, the same whoever looks, with its probability."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from gateway.db.database import Database
from gateway.db.tables import ExchangeDeletionRow, JudgeRow
from gateway.judging import repository, watching
from gateway.kit.clock import from_unix, now
from gateway.protocol.judges import LlmSpec, Watch
from tests.fakes.judging import World

pytestmark = pytest.mark.anyio

EVERYTHING = Watch()
LONG_AGO = timedelta(days=3)


async def sample(
    database: Database, judge_id: str, *, moment: datetime | None = None, sweep: bool = False, repeats: int = 1
) -> int:
    async with database.session() as session:
        row = await watching.lock(session, judge_id)
        assert row is not None
        version = await repository.version(session, row)
        return await watching.Round(session, row, version, repeats, moment or now()).sample(sweep=sweep)


async def sampled(world: World) -> set[str]:
    return {row.exchange_id for row in await world.tasks()}


class TestSample:
    async def test_every_new_answer_once_with_its_probability(self, world: World, database: Database) -> None:
        judge, version = await world.judge(watch=EVERYTHING, since=now() - timedelta(minutes=1))
        ids = {await world.answer() for _ in range(5)}
        assert await sample(database, judge.id) == 5
        assert await sample(database, judge.id) == 0
        rows = await world.tasks()
        assert {row.exchange_id for row in rows} == ids
        assert {row.judge_version_id for row in rows} == {version.id}
        assert all(row.sampling == {"probability": 1.0, "policy": "watch"} for row in rows)

    async def test_repeats_are_tasks_of_their_own(self, world: World, database: Database) -> None:
        judge, _ = await world.judge(
            LlmSpec(model="m", repeats=3), watch=EVERYTHING, since=now() - timedelta(minutes=1)
        )
        await world.answer()
        assert await sample(database, judge.id, repeats=3) == 1
        assert [row.attempt for row in await world.tasks()] == [0, 1, 2]

    async def test_a_share_by_a_hash_of_the_id_that_does_not_change(self, world: World, database: Database) -> None:
        since = now() - timedelta(minutes=1)
        judge, _ = await world.judge(watch=Watch(rate=0.3), since=since)
        for _ in range(300):
            await world.answer()
        count = await sample(database, judge.id)
        assert 60 <= count <= 120
        assert await sample(database, judge.id, sweep=True) == 0
        first = await sampled(world)
        other, _ = await world.judge(name="other", watch=Watch(rate=0.3), since=since)
        await sample(database, other.id)
        second = {row.exchange_id for row in await world.tasks() if row.exchange_id not in first}
        assert second, "another judge has a sample of its own"

    async def test_a_larger_share_holds_the_smaller_one(self, world: World, database: Database) -> None:
        since = now() - timedelta(minutes=1)
        judge, _ = await world.judge(watch=Watch(rate=0.2), since=since)
        for _ in range(100):
            await world.answer()
        await sample(database, judge.id)
        small = await sampled(world)
        async with database.session() as session:
            row = await session.get_one(JudgeRow, judge.id)
            row.watch, row.watched_until = watching.begin(Watch(rate=0.6), since), None
        await sample(database, judge.id)
        assert small < await sampled(world)

    @pytest.mark.parametrize(
        "changes",
        [
            {"purpose": "judge"},
            {"purpose": "eval"},
            {"outcome": "failed", "status": 502},
            {"outcome": "client_left"},
            {"logging": "metadata"},
            {"cache_hit": True},
            {"project_id": "proj_other"},
        ],
        ids=str,
    )
    async def test_what_is_never_judged(self, world: World, database: Database, changes: dict[str, Any]) -> None:
        judge, _ = await world.judge(watch=EVERYTHING, since=now() - timedelta(minutes=1))
        await world.answer(**changes)
        assert await sample(database, judge.id) == 0

    async def test_nor_what_was_erased(self, world: World, database: Database) -> None:
        judge, _ = await world.judge(watch=EVERYTHING, since=now() - timedelta(minutes=1))
        id = await world.answer()
        async with database.session() as session:
            session.add(
                ExchangeDeletionRow(exchange_id=id, project_id=world.project_id, deleted_at=now(), deleted_by="key_1")
            )
        assert await sample(database, judge.id) == 0

    @pytest.mark.parametrize(
        ("watch", "wanted"),
        [
            (Watch(routes=["way"]), {"route": "way"}),
            (Watch(models=["big"]), {"requested_model": "big"}),
            (Watch(models=["big"]), {"served_model": "big"}),
            (Watch(metadata={"team": "a"}), {"request_metadata": {"team": "a", "more": "x"}}),
        ],
        ids=str,
    )
    async def test_only_what_it_watches(
        self, world: World, database: Database, watch: Watch, wanted: dict[str, Any]
    ) -> None:
        judge, _ = await world.judge(watch=watch, since=now() - timedelta(minutes=1))
        await world.answer(request_metadata={"team": "b"})
        id = await world.answer(**wanted)
        await sample(database, judge.id)
        assert await sampled(world) == {id}

    async def test_what_began_before_it_watched_is_left_alone(self, world: World, database: Database) -> None:
        await world.answer(at=now() - timedelta(minutes=5))
        judge, _ = await world.judge(watch=EVERYTHING)
        assert await sample(database, judge.id, sweep=True) == 0

    async def test_an_answer_that_arrives_late_is_found(self, world: World, database: Database) -> None:
        """A little late by every round, hours late by a sweep."""
        judge, _ = await world.judge(watch=EVERYTHING, since=now() - LONG_AGO)
        await sample(database, judge.id)
        little = await world.answer(at=now() - timedelta(seconds=60))
        very = await world.answer(at=now() - timedelta(hours=5))
        await sample(database, judge.id)
        assert await sampled(world) == {little}
        await sample(database, judge.id, sweep=True)
        assert await sampled(world) == {little, very}

    async def test_the_next_version_does_not_judge_again_what_the_last_one_did(
        self, world: World, database: Database
    ) -> None:
        judge, _ = await world.judge(watch=EVERYTHING, since=now() - timedelta(minutes=1))
        await world.answer()
        await sample(database, judge.id)
        criterion = await world.criterion()
        async with database.session() as session:
            row = await repository.changeable(session, world.project_id, judge.id)
            await repository.add_version(session, row, criterion, ({"type": "llm", "model": "x"}, "sha"), "key_1")
        assert await sample(database, judge.id, sweep=True) == 0

    async def test_more_than_one_round_takes_is_taken_by_the_next(
        self, world: World, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(watching, "AT_A_TIME", 4)
        judge, _ = await world.judge(watch=EVERYTHING, since=now() - timedelta(minutes=1))
        for _ in range(10):
            await world.answer()
        assert [await sample(database, judge.id) for _ in range(4)] == [4, 4, 2, 0]

    async def test_while_one_worker_looks_another_passes_by(self, world: World, database: Database) -> None:
        judge, _ = await world.judge(watch=EVERYTHING)
        async with database.session() as first, database.session() as second:
            assert await watching.lock(first, judge.id) is not None
            assert await watching.lock(second, judge.id) is None


class TestMaxPerHour:
    HOUR = from_unix(1_795_219_200)
    """It begins then."""

    async def test_the_share_follows_the_traffic_and_is_written_down(self, world: World, database: Database) -> None:
        """The first hour has 100 answers, so of those of the second one in ten is judged: 10 of 100."""
        judge, _ = await world.judge(watch=Watch(max_per_hour=10), since=self.HOUR)
        for hour in (0, 1):
            for number in range(100):
                await world.answer(at=self.HOUR + timedelta(hours=hour, seconds=number * 30))
        await sample(database, judge.id, moment=self.HOUR + timedelta(hours=1, minutes=59), sweep=True)
        rows = await world.tasks()
        split = f"req_{int((self.HOUR.timestamp() + 3600) * 10**9):016x}"
        by_hour = [[row for row in rows if (row.exchange_id >= split) is second] for second in (False, True)]
        for found in by_hour:
            assert 3 <= len(found) <= 10
            assert all(row.sampling == {"probability": 0.1, "policy": "watch", "max_per_hour": 10} for row in found)

    async def test_is_never_passed_when_traffic_jumps(self, world: World, database: Database) -> None:
        judge, _ = await world.judge(watch=Watch(max_per_hour=5), since=self.HOUR)
        for number in range(50):
            await world.answer(at=self.HOUR + timedelta(minutes=1, seconds=number))
            if number % 10 == 9:
                await sample(database, judge.id, moment=self.HOUR + timedelta(minutes=2 + number))
        assert len(await world.tasks()) == 5

    async def test_hours_long_ago_are_forgotten(self, world: World, database: Database) -> None:
        judge, _ = await world.judge(watch=Watch(max_per_hour=5), since=self.HOUR)
        for hour in (1, 60):
            await world.answer(at=self.HOUR + timedelta(hours=hour))
            await sample(database, judge.id, moment=self.HOUR + timedelta(hours=hour, minutes=1))
        async with database.session() as session:
            row = await session.scalar(select(JudgeRow))
        assert row is not None
        state = watching.watched(row)
        assert state is not None
        assert len(state.hours) <= watching.HOURS_KEPT
