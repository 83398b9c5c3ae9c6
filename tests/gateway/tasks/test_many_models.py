"""More fine-tuned models than the engine has room for: every call is answered, and nothing is loaded and unloaded in vain."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import select, update

from gateway.db.tables import DeploymentEventRow, LoadedModelRow, ModelRow
from gateway.kit.clock import from_unix
from gateway.services import Services, WorkerServices, worker_services
from gateway.serving.watch import PLACING
from gateway.settings import Settings
from gateway.tasks.reconcile_adapters import reconcile_adapters
from tests.conftest import chat
from tests.fakes.engine import BASE, FakeEngine
from tests.fakes.fine_tuning import until
from tests.fakes.tuned_models import add_job, add_tuned
from tests.fakes.working import working

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient
NO_FALLBACK = {"x-tuneway-fallback": "off"}


@pytest.fixture
def room() -> int:
    return 2


@pytest.fixture
def settings(settings: Settings, room: int) -> Settings:
    engine = msgspec.structs.replace(settings.engine, max_adapters=room, load_seconds=20.0)
    return msgspec.structs.replace(settings, engine=engine)


Make = Callable[..., Awaitable[list[ModelRow]]]


@pytest.fixture
async def serve(
    wv: WorkerServices, sv: Services, engine: FakeEngine, project_key: dict[str, Any], room: int
) -> AsyncIterator[Make]:
    """Makes so many finals, and one checkpoint a step, each a second newer than the one before; then a worker begins, and
    has filled the engine: `await serve(3)`, `await serve(2, 4)`."""
    async with AsyncExitStack() as stack:

        async def serve(finals: int, *steps: int) -> list[ModelRow]:
            kinds = [*[None] * finals, *steps]
            rows = [await make(wv, project_key, number, step=step) for number, step in enumerate(kinds)]
            await stack.enter_async_context(working(wv, round_seconds=0.2))
            await until(lambda: len(engine.adapters) == room)
            await until(lambda: settled(wv, room))
            await sv.mirrors.refresh()
            return rows

        yield serve


async def settled(wv: WorkerServices, room: int) -> bool:
    """As many models are ready as there is room for."""
    async with wv.database.session() as session:
        query = select(LoadedModelRow.state)
        return list(await session.scalars(query)).count("ready") == room


async def make(wv: WorkerServices, key: dict[str, Any], number: int, *, step: int | None = None) -> ModelRow:
    """The number-th model, made number seconds into 2001 and never called."""
    job = await add_job(wv.database, key, f"ftjob-{number:08d}")
    return await add_tuned(
        wv.database, job, wv.settings.data_dir, step=step, created_at=from_unix(978_307_200 + number)
    )


async def call(client: Client, model: str, **headers: str) -> str:
    """Who answered."""
    answer = await client.post("/v1/chat/completions", json=chat(model), headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0]["message"]["content"]


async def history(wv: WorkerServices, action: str) -> list[str]:
    async with wv.database.session() as session:
        query = select(DeploymentEventRow.model_id).where(DeploymentEventRow.action == action)
        return list(await session.scalars(query.order_by(DeploymentEventRow.created_at)))


class TestWhoLeaves:
    async def test_newest_are_loaded_and_what_was_called_last_stays(
        self,
        client: Client,
        wv: WorkerServices,
        sv: Services,
        engine: FakeEngine,
        project_key: dict[str, Any],
        serve: Make,
    ) -> None:
        one, two, three = await serve(3)
        assert set(engine.adapters) == {two.id, three.id}
        assert await call(client, two.id, **NO_FALLBACK) == two.id
        await sv.residency.save_last_used(wv.database)
        assert await call(client, one.id, **NO_FALLBACK) == one.id
        await until(lambda: len(engine.adapters) == 2)
        assert set(engine.adapters) == {one.id, two.id}
        assert await history(wv, "evicted") == [three.id]

    async def test_idle_checkpoint_goes_before_a_final(
        self,
        client: Client,
        wv: WorkerServices,
        sv: Services,
        engine: FakeEngine,
        project_key: dict[str, Any],
        serve: Make,
    ) -> None:
        final, other, checkpoint = await serve(2, 4)
        assert set(engine.adapters) == {final.id, other.id}
        assert await call(client, checkpoint.id, **NO_FALLBACK) == checkpoint.id
        await until(lambda: len(engine.adapters) == 2)
        assert set(engine.adapters) == {other.id, checkpoint.id}

    async def test_loop_does_not_undo_it(
        self,
        client: Client,
        wv: WorkerServices,
        sv: Services,
        engine: FakeEngine,
        project_key: dict[str, Any],
        serve: Make,
    ) -> None:
        rows = await serve(4)
        await call(client, rows[0].id, **NO_FALLBACK)
        await until(lambda: len(engine.adapters) == 2)
        asked, looks = list(engine.loads), engine.looks
        await until(lambda: engine.looks > looks + 5)
        assert engine.loads == asked

    async def test_restart_brings_back_what_was_there(
        self,
        client: Client,
        wv: WorkerServices,
        sv: Services,
        engine: FakeEngine,
        project_key: dict[str, Any],
        serve: Make,
    ) -> None:
        rows = await serve(4)
        await call(client, rows[0].id, **NO_FALLBACK)
        await until(lambda: len(engine.adapters) == 2)
        there = set(engine.adapters)
        engine.adapters.clear()
        await until(lambda: set(engine.adapters) == there)


class TestOnDemand:
    async def test_calls_that_wait_for_one_model_load_it_once(
        self,
        client: Client,
        wv: WorkerServices,
        sv: Services,
        engine: FakeEngine,
        project_key: dict[str, Any],
        serve: Make,
    ) -> None:
        rows = await serve(3)
        engine.load_seconds = 0.3
        answered = await asyncio.gather(*(call(client, rows[0].id, **NO_FALLBACK) for _ in range(10)))
        assert answered == [rows[0].id] * 10
        assert engine.loads.count(rows[0].id) == 1

    async def test_one_that_takes_too_long_falls_back_and_answers_later(
        self,
        client: Client,
        wv: WorkerServices,
        sv: Services,
        engine: FakeEngine,
        project_key: dict[str, Any],
        serve: Make,
    ) -> None:
        rows = await serve(3)
        engine.load_seconds = 1.0
        assert await sv.loader.wait_until_loaded(sv.catalog.find(rows[0].id, project_key["project_id"]), 0.1) is False
        await until(lambda: rows[0].id in engine.adapters)
        assert await call(client, rows[0].id, **NO_FALLBACK) == rows[0].id

    async def test_one_that_is_refused_falls_back_at_once_and_the_next_call_does_not_ask(
        self,
        client: Client,
        wv: WorkerServices,
        sv: Services,
        engine: FakeEngine,
        project_key: dict[str, Any],
        serve: Make,
    ) -> None:
        rows = await serve(3)
        engine.refusals[rows[0].id] = (500, "LoRA rank 64 is greater than max_lora_rank 16.")
        assert await call(client, rows[0].id) == BASE
        asked = engine.loads.count(rows[0].id)
        assert await call(client, rows[0].id) == BASE
        assert engine.loads.count(rows[0].id) == asked
        answer = await client.post("/v1/chat/completions", json=chat(rows[0].id), headers=NO_FALLBACK)
        assert (answer.status_code, "--max-lora-rank 64" in answer.text) == (503, True)

    async def test_without_a_worker_it_falls_back(
        self, client: Client, wv: WorkerServices, sv: Services, engine: FakeEngine, project_key: dict[str, Any]
    ) -> None:
        await reconcile_adapters(wv)
        row = await make(wv, project_key, 1)
        await sv.mirrors.refresh()
        assert await sv.loader.wait_until_loaded(sv.catalog.find(row.id, project_key["project_id"]), 0.3) is False


class TestTwoHundredOnEight:
    @pytest.fixture
    def room(self) -> int:
        return 8

    @pytest.mark.slow
    async def test_every_call_is_answered_by_its_model_or_a_fallback(
        self,
        client: Client,
        wv: WorkerServices,
        sv: Services,
        engine: FakeEngine,
        project_key: dict[str, Any],
        settings: Settings,
    ) -> None:
        rows = [await make(wv, project_key, number) for number in range(200)]
        async with wv.database.session() as session:  # as if each had been called once, in this order
            await session.execute(update(ModelRow).values(last_used_at=ModelRow.created_at))
        names, chance = [row.id for row in rows], random.Random(7)
        answers: list[tuple[str, str]] = []

        async def caller(models: list[str]) -> None:
            answers.extend([(model, await call(client, model)) for model in models])

        async with (
            worker_services(settings) as other,
            working(wv, round_seconds=0.2),
            working(other, round_seconds=0.2),
        ):
            await until(lambda: len(engine.adapters) == 8)
            assert set(engine.adapters) == set(names[-8:])
            await sv.mirrors.refresh()
            await asyncio.gather(*(caller(chance.choices(names, k=60)) for _ in range(5)))
            await until(lambda: len(engine.adapters) == 8)
            loads, looks = len(engine.loads), engine.looks
            await until(lambda: engine.looks > looks + 10)
            assert len(engine.loads) == loads  # at rest
        came = Counter(model == answered for model, answered in answers)
        assert all(answered in (model, BASE) for model, answered in answers)
        assert came.total() == 300
        assert came[True] >= 290  # a fallback is for what left in the very moment of its call
        assert engine.most <= 8 + 2 * PLACING
        assert loads <= 8 + 300


class TestHotModels:
    async def test_called_again_and_again_are_never_driven_out_by_rare_ones(
        self,
        client: Client,
        wv: WorkerServices,
        sv: Services,
        engine: FakeEngine,
        project_key: dict[str, Any],
        serve: Make,
    ) -> None:
        *rare, hot = await serve(6)
        for row in rare:
            assert await call(client, hot.id, **NO_FALLBACK) == hot.id
            await sv.residency.save_last_used(wv.database)
            assert await call(client, row.id, **NO_FALLBACK) == row.id
            await until(lambda: len(engine.adapters) == 2)
        assert hot.id in engine.adapters
        assert hot.id not in await history(wv, "evicted")
