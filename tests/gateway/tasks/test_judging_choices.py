"""Every choice of a reply is judged, one judgment each."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import delete, update

from gateway.asking import NotAsked
from gateway.db.database import Database
from gateway.db.tables import JudgeRow, JudgingTaskRow
from gateway.judging import lag, repository, work
from gateway.kit.clock import now
from gateway.protocol.judges import LlmSpec, RuleSpec, Watch
from gateway.services import WorkerServices, worker_services
from gateway.settings import Settings
from gateway.tasks.judging_cases import load
from gateway.tasks.sample_exchanges import Sampling
from tests.fakes.judging import FakeAsking, World, material, prefers, says

pytestmark = pytest.mark.anyio


def by_words(body: dict[str, Any]) -> str:
    """Three words are worth three."""
    return says(len(material(body)["answer"]["content"].split()))(body)


@pytest.fixture
async def world(database: Database) -> World:
    return await World(database).open()


@pytest.fixture
def asking() -> FakeAsking:
    return FakeAsking({"words": by_words, "first": says("first"), "right": prefers("right")})


@pytest.fixture
async def wv(settings: Settings, asking: FakeAsking) -> AsyncIterator[WorkerServices]:
    async with worker_services(settings) as wv:
        yield replace(wv, asking=asking)  # type: ignore[arg-type]


async def said(world: World) -> dict[tuple[int, int], Any]:
    """Choice and attempt -> value."""
    return {(row.choice_index, row.attempt): row.raw_value for row in await world.judged()}


WORDS = LlmSpec(model="words")


class TestEveryChoice:
    async def test_of_what_is_asked_for(self, world: World, wv: WorkerServices) -> None:
        _, version = await world.judge(WORDS)
        await world.ask(version, await world.answer("one", "one two", "one two three"))
        await world.work_off(wv)
        assert await said(world) == {(0, 0): 1, (1, 0): 2, (2, 0): 3}

    async def test_of_what_is_sampled_with_its_probability(self, world: World, wv: WorkerServices) -> None:
        await world.judge(WORDS, watch=Watch(), since=now() - timedelta(minutes=1))
        await world.answer("one", "one two")
        await Sampling(wv).round()
        await world.work_off(wv)
        await Sampling(wv).round()
        assert await said(world) == {(0, 0): 1, (1, 0): 2}
        assert [row.sampling for row in await world.judged()] == [{"probability": 1.0, "policy": "watch"}] * 2
        assert len(await world.tasks()) == 2

    async def test_as_often_as_the_judge_repeats(self, world: World, wv: WorkerServices) -> None:
        _, version = await world.judge(WORDS)
        await world.ask(version, await world.answer("one", "one two"), repeats=2)
        await world.work_off(wv)
        assert await said(world) == {(0, 0): 1, (0, 1): 1, (1, 0): 2, (1, 1): 2}

    async def test_by_rules(self, world: World, wv: WorkerServices) -> None:
        spec = msgspec.convert({"type": "rule", "rules": [{"type": "json"}]}, RuleSpec)
        _, version = await world.judge(spec, criterion="thumbs")
        await world.ask(version, await world.answer("{}", "no"))
        await world.work_off(wv)
        assert await said(world) == {(0, 0): True, (1, 0): False}

    async def test_but_no_more_than_the_first_sixteen(self, world: World, wv: WorkerServices) -> None:
        _, version = await world.judge(WORDS)
        await world.ask(version, await world.answer(*["one"] * 20))
        await world.work_off(wv)
        assert sorted(row.choice_index for row in await world.judged()) == list(range(work.MOST_CHOICES))

    async def test_of_a_comparison_the_first_ones_alone(self, world: World, wv: WorkerServices) -> None:
        _, version = await world.judge(LlmSpec(model="right"), criterion="preference")
        await world.ask(version, (await world.answer("wrong", "right"), await world.answer("right", "wrong")))
        await world.work_off(wv)
        (row,) = await world.judged()
        assert (row.choice_index, row.other_choice_index, row.preference) == (0, 0, "b")

    @pytest.mark.parametrize("index", ["1", -1, 1.5, None, 9999999999999])
    async def test_what_is_no_index_is_passed_over(self, world: World, wv: WorkerServices, index: Any) -> None:
        _, version = await world.judge(WORDS)
        odd = {"index": index, "message": {"role": "assistant", "content": "odd"}}
        first = {"index": 0, "message": {"role": "assistant", "content": "one"}}
        await world.ask(version, await world.answer(reply=msgspec.json.encode({"choices": [first, odd]})))
        await world.work_off(wv)
        assert await said(world) == {(0, 0): 1}


class TestReference:
    async def test_a_correction_of_another_choice_is_one_of_this_until_it_has_its_own(
        self, world: World, wv: WorkerServices, asking: FakeAsking
    ) -> None:
        id = await world.answer("one", "one two")
        edit = await world.criterion("correction")
        for choice, text in ((1, "of the second"), (0, "of the first")):
            message = {"role": "assistant", "content": text}
            await world.people_say(edit, id, None, edited_message=message, choice_index=choice)
        _, version = await world.judge(LlmSpec(model="words", reference=True))
        await world.ask(version, id)
        await world.work_off(wv)
        shown = {material(body)["answer"]["content"]: material(body)["reference"] for body in asking.bodies}
        assert shown == {"one": "of the first", "one two": "of the second"}


class TestAskedAgain:
    async def test_only_the_choice_that_failed(self, world: World, wv: WorkerServices, asking: FakeAsking) -> None:
        def poor(body: dict[str, Any]) -> str:
            if material(body)["answer"]["content"] == "one two":
                raise NotAsked("The budget is used up.", code="quota", retry=False)
            return by_words(body)

        asking.models["words"] = poor
        _, version = await world.judge(WORDS)
        id = await world.answer("one", "one two", "one two three")
        await world.ask(version, id)
        await world.work_off(wv)
        assert await said(world) == {(0, 0): 1, (1, 0): None, (2, 0): 3}
        asking.models["words"] = by_words
        asking.bodies.clear()
        assert await world.ask(version, id) == 1
        await world.work_off(wv)
        assert await said(world) == {(0, 0): 1, (1, 0): 2, (2, 0): 3}
        assert len(asking.bodies) == 1

    async def test_a_verdict_is_not_paid_for_again_when_its_task_is_long_gone(
        self, world: World, wv: WorkerServices, asking: FakeAsking, database: Database
    ) -> None:
        _, version = await world.judge(WORDS)
        id = await world.answer("one", "one two")
        await world.ask(version, id)
        await world.work_off(wv)
        async with database.session() as session:
            await session.execute(delete(JudgingTaskRow))
        asking.bodies.clear()
        await world.ask(version, id)
        await world.work_off(wv)
        assert await said(world) == {(0, 0): 1, (1, 0): 2}
        assert asking.bodies == []


class TestLag:
    async def test_a_choice_waits_since_the_first_one_does(self, world: World, database: Database) -> None:
        row, version = await world.judge(WORDS)
        await world.ask(version, await world.answer("one", "one two", "one two three"))
        long_ago = now() - timedelta(hours=1)
        async with database.session() as session:
            await session.execute(update(JudgingTaskRow).values(created_at=long_ago))
        async with database.session() as session:
            (first,) = await work.claim(session, "one", 1)
            assert await load(session, first) is not None
            assert await work.finish(session, first)
            found = await lag.of_judge(session, row)
        assert (found.waiting, found.oldest) == (2, long_ago)

    async def test_a_judge_that_is_archived_meanwhile_leaves_none_behind(
        self, world: World, database: Database
    ) -> None:
        row, version = await world.judge(WORDS)
        await world.ask(version, await world.answer("one", "one two"))
        async with database.session() as session:
            (first,) = await work.claim(session, "one", 1)
            await repository.archive(session, await session.get_one(JudgeRow, row.id))
            await work.remove_waiting(session, row.id)
            await work.add_choices(session, first, [1])
        assert await world.tasks() == []
        async with database.session() as session:
            session.add(JudgingTaskRow(**_task(first)))
            await session.flush()
            await work.add_choices(session, first, [1])
        assert [task.choice_index for task in await world.tasks()] == [0]


def _task(claim: work.Claim) -> dict[str, Any]:
    same = ("id", "project_id", "judge_version_id", "exchange_id", "choice_index", "attempt")
    return {name: getattr(claim, name) for name in same} | {"created_at": now(), "due_at": now()}
