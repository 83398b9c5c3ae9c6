"""What is erased while a judge is at it: nothing that repeats it stays, wherever the judge's call stood."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from sqlalchemy import select

from gateway.asking import NotAsked
from gateway.db.database import Database
from gateway.db.tables import ExchangeDeletionRow, ExchangeRow, JudgeVersionRow, JudgmentRow
from gateway.exchanges import erasure
from gateway.judging import work
from gateway.protocol.judges import LlmSpec
from gateway.services import WorkerServices, worker_services
from gateway.settings import Settings
from gateway.tasks.judge_answers import judge
from tests.fakes.judging import FakeAsking, World, prefers, says

pytestmark = pytest.mark.anyio

SECRET = "my name is Ada"


@dataclass
class Slow:
    """A judge that answers when it may."""

    answer: Any
    began: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, body: dict[str, Any]) -> str:
        self.began.set()
        await self.go.wait()
        return self.answer(body)


@dataclass
class LoggedAsking(FakeAsking):
    """Its calls are in the log, as those of a real gateway."""

    world: World | None = None

    async def chat(self, project_id: str, purpose: str, body: dict[str, Any]) -> Any:
        assert self.world is not None
        try:
            answer = await super().chat(project_id, purpose, body)
        except NotAsked as error:
            error.exchange_id = await self._log(body)
            raise
        return replace(answer, exchange_id=await self._log(body))

    async def _log(self, body: dict[str, Any]) -> str:
        assert self.world is not None
        return await self.world.answer(SECRET, purpose="judge", request=repr(body).encode())


@pytest.fixture
async def world(database: Database) -> World:
    return await World(database).open()


@pytest.fixture
def slow() -> Slow:
    return Slow(says(5))


@pytest.fixture
async def wv(settings: Settings, world: World, slow: Slow) -> AsyncIterator[WorkerServices]:
    asking = LoggedAsking({"slow": slow, "five": says(5), "right": prefers("Ada")}, world=world)
    async with worker_services(settings) as wv:
        yield replace(wv, asking=asking)  # type: ignore[arg-type]


async def erase(world: World, id: str) -> None:
    """As DELETE /v1/exchanges/{id} does."""
    async with world.database.session() as session:
        await erasure.announce(session, world.project_id, [id], "key_1")
    async with world.database.session() as session:
        await erasure.erase(session, world.project_id, [id], "key_1")


async def kept(world: World) -> list[str]:
    """Ids of exchanges whose bodies still say what is secret."""
    async with world.database.session() as session:
        rows = await session.scalars(select(ExchangeRow).order_by(ExchangeRow.id))
        return [row.id for row in rows if SECRET.encode() in row.request + (row.reply or b"")]


async def words(world: World) -> list[Any]:
    async with world.database.session() as session:
        return list(await session.scalars(select(JudgmentRow.rationale)))


async def erased_meanwhile(world: World, wv: WorkerServices, slow: Slow, id: str) -> None:
    """An answer is erased while the judge is at it."""
    async with world.database.session() as session:
        (task,) = await work.claim(session, "one", 1)
    judging = asyncio.create_task(judge(wv, task))
    await slow.began.wait()
    await erase(world, id)
    slow.go.set()
    await judging


class TestErasedMeanwhile:
    async def test_the_judges_own_call_goes_too(self, world: World, wv: WorkerServices, slow: Slow) -> None:
        _, version = await world.judge(LlmSpec(model="slow"))
        id = await world.answer(SECRET)
        await world.ask(version, id)
        await erased_meanwhile(world, wv, slow, id)
        assert await kept(world) == []
        assert await world.judged() == []

    async def test_and_is_told_of_before_it_comes_to_the_log(
        self, world: World, wv: WorkerServices, slow: Slow, database: Database
    ) -> None:
        """A call that is still in a spool comes without its bodies."""
        _, version = await world.judge(LlmSpec(model="slow"))
        id = await world.answer(SECRET)
        await world.ask(version, id)
        await erased_meanwhile(world, wv, slow, id)
        async with database.session() as session:
            (call,) = await session.scalars(select(ExchangeRow.id).where(ExchangeRow.purpose == "judge"))
            assert (await session.get_one(ExchangeDeletionRow, call)).project_id == world.project_id

    @pytest.mark.parametrize("place", [0, 1])
    async def test_either_of_two_that_are_compared(
        self, world: World, wv: WorkerServices, slow: Slow, place: int
    ) -> None:
        """And the second order is not asked for any more."""
        slow.answer = prefers("Ada")
        _, version = await world.judge(LlmSpec(model="slow"), criterion="preference")
        pair = [await world.answer(SECRET), await world.answer(SECRET)]
        await world.ask(version, (pair[0], pair[1]))
        await erased_meanwhile(world, wv, slow, pair[place])
        assert await kept(world) == [pair[1 - place]]
        assert len(wv.asking.bodies) == 1  # type: ignore[attr-defined]

    async def test_every_member_of_a_panel(self, world: World, wv: WorkerServices, slow: Slow) -> None:
        """The first has answered, the second is at it, the third is not asked any more."""
        wv.asking.models["never"] = says(1)  # type: ignore[attr-defined]
        _, version = await world.judge(LlmSpec(model="five", panel=["slow", "never"]))
        id = await world.answer(SECRET)
        await world.ask(version, id)
        await erased_meanwhile(world, wv, slow, id)
        assert await kept(world) == []
        assert set(await words(world)) == {None}
        assert [body["model"] for body in wv.asking.bodies] == ["five", "slow"]  # type: ignore[attr-defined]


class TestErasedLater:
    """Calls that gave no verdict are found, too."""

    async def judged(self, world: World, wv: WorkerServices, model: str, answer: Any) -> str:
        wv.asking.models[model] = answer  # type: ignore[attr-defined]
        _, version = await world.judge(LlmSpec(model=model))
        id = await world.answer(SECRET)
        await world.ask(version, id)
        await world.work_off(wv)
        return id

    async def test_one_that_was_refused_is_named_by_its_judgment(self, world: World, wv: WorkerServices) -> None:
        id = await self.judged(world, wv, "poor", NotAsked("Used up.", code="quota", retry=False))
        (row,) = await world.judged()
        assert row.judge_exchange_id in await kept(world)
        await erase(world, id)
        assert await kept(world) == []

    async def test_one_that_is_tried_again_leaves_nothing(self, world: World, wv: WorkerServices) -> None:
        id = await self.judged(world, wv, "away", NotAsked("Away.", code="upstream", retry=True))
        assert await kept(world) == [id]

    async def test_one_without_structure_leaves_nothing_of_the_first_try(
        self, world: World, wv: WorkerServices
    ) -> None:
        def plain(body: dict[str, Any]) -> str:
            if "response_format" in body:
                raise NotAsked("response_format is not supported", code="refused", retry=False)
            return says(3)(body)

        id = await self.judged(world, wv, "plain", plain)
        (row,) = await world.judged()
        assert await kept(world) == [id, row.judge_exchange_id]
        await erase(world, id)
        assert await kept(world) == []

    async def test_one_that_says_the_same_again(self, world: World, wv: WorkerServices) -> None:
        """The judgment of before stays as it is, and names the first call; the second one is named nowhere."""
        id = await self.judged(world, wv, "garbage", lambda _: "7/10")
        (row,) = await world.judged()
        async with world.database.session() as session:
            version = await session.get_one(JudgeVersionRow, row.judge_version_id)
        assert await world.ask(version, id) == 1
        await world.work_off(wv)
        assert [each.id for each in await world.judged()] == [row.id]
        assert await kept(world) == [id, row.judge_exchange_id]
