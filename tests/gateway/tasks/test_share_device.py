"""One device for training and serving: the engine sleeps while a (fake) trainer runs, and is always awake again after it."""

from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest
from sqlalchemy import text

from gateway.services import Services, WorkerServices, worker_services
from gateway.settings import Settings
from gateway.tasks.reconcile_adapters import reconcile_adapters
from gateway.tasks.train_fine_tuning_jobs import train_fine_tuning_jobs
from gateway.tasks.validate_fine_tuning_job import validate_fine_tuning_job
from tests.conftest import chat
from tests.fakes.engine import FakeEngine
from tests.fakes.fine_tuning import (
    QUICK,
    create_job,
    ended,
    finals,
    go_on,
    idle,
    job_of,
    messages_of,
    set_mode,
    training,
    until,
    wait,
)
from tests.fakes.working import working

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient
SLEEP = "level=1&mode=wait"
NO_FALLBACK = {"x-tuneway-fallback": "off"}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    engine = msgspec.structs.replace(settings.engine, sharing="sleep")
    return msgspec.structs.replace(settings, engine=engine)


@pytest.fixture
async def watched(wv: WorkerServices) -> AsyncIterator[None]:
    async with working(wv, round_seconds=0.1):
        yield


class TestSleep:
    async def test_engine_sleeps_while_a_training_runs_and_then_serves_what_it_made(
        self, client: Client, wv: WorkerServices, sv: Services, settings: Settings, engine: FakeEngine, watched: None
    ) -> None:
        job = await training(client, wv, settings)
        assert engine.asleep
        assert engine.sleeps == [SLEEP]
        await sv.mirrors.refresh()
        assert sv.residency.is_asleep(engine.url)
        go_on(settings, job["id"])
        done = await wait(client, job["id"])
        assert done["status"] == "succeeded"
        assert engine.sleeps == [SLEEP, "wake_up"]

        async def is_ready() -> bool:  # a round that looked while the engine slept may be told after it woke
            await sv.mirrors.refresh()
            return sv.residency.ready(done["fine_tuned_model"]) == {engine.url}

        await until(is_ready)
        answer = await client.post("/v1/chat/completions", json=chat(done["fine_tuned_model"]), headers=NO_FALLBACK)
        assert answer.json()["choices"][0]["message"]["content"] == done["fine_tuned_model"]

    async def test_what_was_loaded_before_is_probed_again(
        self, client: Client, wv: WorkerServices, sv: Services, settings: Settings, engine: FakeEngine, watched: None
    ) -> None:
        first = (await ended(client, wv))["fine_tuned_model"]
        job = await training(client, wv, settings)
        engine.unapplied.add(first)  # vLLM may lose an adapter over its sleep
        engine.probes.clear()
        go_on(settings, job["id"])
        await wait(client, job["id"])
        await until(lambda: first in engine.probes)

        async def failed() -> bool:
            await sv.mirrors.refresh()
            return "not this model's" in str(sv.residency.problem(first))

        await until(failed)
        assert first not in engine.adapters

    async def test_no_call_reaches_a_sleeping_engine(
        self, client: Client, wv: WorkerServices, sv: Services, settings: Settings, engine: FakeEngine, watched: None
    ) -> None:
        first = (await ended(client, wv))["fine_tuned_model"]
        job = await training(client, wv, settings)
        await sv.mirrors.refresh()
        for model in (first, settings.engine.model):
            answer = await client.post("/v1/chat/completions", json=chat(model))
            assert answer.status_code == 503, answer.text
            assert int(answer.headers["retry-after"]) >= 1
        assert engine.called_asleep == 0
        go_on(settings, job["id"])
        await wait(client, job["id"])

    @pytest.mark.parametrize("mode", ["fail", "crash", "torn"])
    async def test_wakes_when_the_training_fails(
        self, client: Client, wv: WorkerServices, settings: Settings, engine: FakeEngine, mode: str
    ) -> None:
        set_mode(settings, mode)
        assert (await ended(client, wv))["status"] == "failed"
        await idle(wv)
        assert engine.sleeps[-1] == "wake_up"
        assert not engine.asleep

    async def test_wakes_when_it_is_cancelled(
        self, client: Client, wv: WorkerServices, settings: Settings, engine: FakeEngine, watched: None
    ) -> None:
        job = await training(client, wv, settings)
        await client.post(f"/v1/fine_tuning/jobs/{job['id']}/cancel")
        await until(lambda: not engine.asleep)
        await idle(wv)
        assert engine.sleeps == [SLEEP, "wake_up"]

    async def test_wakes_when_the_worker_is_stopped(
        self, client: Client, settings: Settings, engine: FakeEngine
    ) -> None:
        async with worker_services(settings) as first:
            await training(client, first, settings)
            assert engine.asleep
        assert not engine.asleep

    async def test_next_worker_wakes_what_one_that_died_left_asleep(
        self, client: Client, wv: WorkerServices, sv: Services, settings: Settings, engine: FakeEngine
    ) -> None:
        job = await create_job(client)
        async with wv.database.session() as session:
            leased = "UPDATE fine_tuning_jobs SET status = 'running', leased_until = now() + interval '1 hour'"
            await session.execute(text(leased))
        engine.asleep = True
        for _ in range(2):
            await reconcile_adapters(wv)
        assert engine.asleep  # somebody trains
        await sv.mirrors.refresh()
        assert sv.residency.is_asleep(engine.url)
        async with wv.database.session() as session:
            await session.execute(text("UPDATE fine_tuning_jobs SET leased_until = now() - interval '1 second'"))
        await reconcile_adapters(wv)
        assert not engine.asleep
        await reconcile_adapters(wv)
        await sv.mirrors.refresh()
        assert sv.residency.is_up(engine.url)
        assert (await job_of(client, job["id"]))["status"] == "running"

    async def test_second_job_puts_it_to_sleep_again(
        self, client: Client, wv: WorkerServices, settings: Settings, engine: FakeEngine
    ) -> None:
        jobs = [await create_job(client) for _ in range(2)]
        for job in jobs:
            await validate_fine_tuning_job(wv, job["id"], QUICK)
        done = [await wait(client, job["id"]) for job in jobs]
        await idle(wv)
        assert [job["status"] for job in done] == ["succeeded"] * 2
        assert [word for word in engine.sleeps if word == SLEEP] == [SLEEP] * 2
        assert engine.sleeps[-1] == "wake_up"
        assert len(finals(engine)) == 2

    async def test_engine_that_cannot_sleep_goes_on_and_the_job_says_so(
        self, client: Client, wv: WorkerServices, sv: Services, engine: FakeEngine
    ) -> None:
        engine.cannot_sleep = True
        job = await ended(client, wv)
        assert job["status"] == "succeeded"
        [warning] = [told for told in await messages_of(client, job["id"]) if "--enable-sleep-mode" in told]
        assert "VLLM_SERVER_DEV_MODE=1" in warning
        await sv.mirrors.refresh()
        assert sv.residency.is_up(engine.url)


class TestSeparate:
    async def test_never_sleeps(self, client: Client, settings: Settings, engine: FakeEngine) -> None:
        apart = msgspec.structs.replace(settings.engine, sharing="separate")
        async with worker_services(msgspec.structs.replace(settings, engine=apart)) as wv:
            assert (await ended(client, wv))["status"] == "succeeded"
            await train_fine_tuning_jobs(wv, QUICK)
        assert engine.sleeps == []
