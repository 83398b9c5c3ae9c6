"""Two replicas of the engine: each is loaded, probed and watched on its own, and one that is ready is enough."""

import asyncio
import dataclasses
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from gateway.db.tables import ModelRow
from gateway.errors import UpstreamFailed
from gateway.services import Services, WorkerServices, worker_services
from gateway.serving import repository
from gateway.serving.repository import Outcome
from gateway.settings import Settings
from gateway.tasks.reconcile_adapters import reconcile_adapters
from tests.conftest import chat
from tests.fakes.engine import FakeEngine, running_engine
from tests.fakes.fine_tuning import ended, finals, until
from tests.fakes.tuned_models import add_job, add_tuned
from tests.fakes.working import working
from tests.gateway.serving.test_shapes import write
from trainer.contract import PROBE, Probe

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient
NO_FALLBACK = {"x-tuneway-fallback": "off"}
GONE = "http://127.0.0.1:9/v1"
KNOWN = Probe(token_ids=[1, 2, 3], first=1, logprobs=[-0.5, -0.6], base_logprobs=[-3.0, -4.0], dtype="float32")


@pytest.fixture(scope="module")
def running_other() -> Iterator[FakeEngine]:
    with running_engine() as engine:
        yield engine


@pytest.fixture
def other(running_other: FakeEngine) -> FakeEngine:
    running_other.reset()
    return running_other


@pytest.fixture
def settings(settings: Settings, other: FakeEngine) -> Settings:
    engine = msgspec.structs.replace(settings.engine, replicas=(other.url,), load_seconds=5.0)
    return msgspec.structs.replace(settings, engine=engine)


@pytest.fixture
async def model(wv: WorkerServices, project_key: dict[str, Any]) -> ModelRow:
    row = await add_tuned(wv.database, await add_job(wv.database, project_key), wv.settings.data_dir)
    (wv.settings.data_dir / row.adapter_path / PROBE).write_bytes(msgspec.json.encode(KNOWN))
    return row


async def states(wv: WorkerServices, model: str) -> dict[str, tuple[str, str | None]]:
    """Replica -> state and code."""
    async with wv.database.session() as session:
        rows = await repository.of_model(session, model)
    return {url: (row.state, row.code) for url, row in rows.items()}


async def round_(wv: WorkerServices) -> None:
    """One that may find a replica away."""
    with suppress(UpstreamFailed):
        await reconcile_adapters(wv, retry_after=0.0)


class TestPublish:
    async def test_is_ready_on_both_before_the_job_has_succeeded(
        self, client: Client, wv: WorkerServices, sv: Services, engine: FakeEngine, other: FakeEngine
    ) -> None:
        job = await ended(client, wv)
        await sv.mirrors.refresh()
        assert sv.residency.ready(job["fine_tuned_model"]) == {engine.url, other.url}
        assert finals(engine) == finals(other)
        assert job["fine_tuned_model"] in engine.probes

    async def test_one_that_refuses_does_not_fail_the_job_and_gets_no_call(
        self, client: Client, wv: WorkerServices, sv: Services, engine: FakeEngine, other: FakeEngine
    ) -> None:
        other.refusals["*"] = (500, "LoRA rank 64 is greater than max_lora_rank 16.")
        job = await ended(client, wv)
        name = job["fine_tuned_model"]
        assert job["status"] == "succeeded"
        assert await states(wv, name) == {engine.url: ("ready", None), other.url: ("failed", "rank_too_large")}
        await sv.mirrors.refresh()
        assert sv.residency.ready(name) == {engine.url}
        assert sv.residency.problem(name) is None
        for _ in range(6):
            answer = await client.post("/v1/chat/completions", json=chat(name), headers=NO_FALLBACK)
            assert answer.json()["choices"][0]["message"]["content"] == name

    async def test_one_that_is_away_gets_it_when_it_is_back(
        self, client: Client, wv: WorkerServices, engine: FakeEngine, other: FakeEngine
    ) -> None:
        other.away = True
        job = await ended(client, wv)
        assert job["status"] == "succeeded"
        await round_(wv)
        other.away = False
        await round_(wv)
        assert list(finals(other)) == [job["fine_tuned_model"]]
        assert (await states(wv, job["fine_tuned_model"]))[other.url] == ("ready", None)

    async def test_adapter_that_no_replica_applies_fails_the_job(
        self, client: Client, wv: WorkerServices, engine: FakeEngine, other: FakeEngine
    ) -> None:
        engine.unapplied.add("*")
        other.unapplied.add("*")
        job = await ended(client, wv)
        assert (job["status"], job["error"]["code"]) == ("failed", "adapter_rejected")
        assert "(probe_failed)" in job["error"]["message"]
        assert finals(engine) == finals(other) == {}


class TestWatch:
    async def test_one_that_loses_it_gets_no_call_until_it_is_back(
        self, client: Client, wv: WorkerServices, sv: Services, engine: FakeEngine, other: FakeEngine, model: ModelRow
    ) -> None:
        await reconcile_adapters(wv)
        other.adapters.clear()
        other.load_seconds = 0.5
        lost = asyncio.ensure_future(reconcile_adapters(wv))

        async def told() -> bool:
            await sv.mirrors.refresh()
            return sv.residency.ready(model.id) == {engine.url}

        await until(told)
        answer = await client.post("/v1/chat/completions", json=chat(model.id), headers=NO_FALLBACK)
        assert answer.json()["choices"][0]["message"]["content"] == model.id
        await lost
        await sv.mirrors.refresh()
        assert sv.residency.ready(model.id) == {engine.url, other.url}

    async def test_what_an_engine_had_that_is_gone_counts_for_nothing(
        self, wv: WorkerServices, sv: Services, engine: FakeEngine, model: ModelRow
    ) -> None:
        """That of `tuneway serve` has another port after every start: a call must wait for the model, and not fall back."""
        async with wv.database.session() as session:
            await repository.set_state(session, GONE, "up")
            await repository.set_loaded(session, model.id, GONE, Outcome("ready"))
        await sv.mirrors.refresh()
        assert not sv.residency.is_watched
        assert not sv.residency.ready(model.id)
        await reconcile_adapters(wv)
        await sv.mirrors.refresh()
        assert sv.residency.ready(model.id) == set(wv.settings.engine.urls)

    async def test_one_that_is_down_is_said_to_be_and_holds_the_other_up_for_nothing(
        self, wv: WorkerServices, sv: Services, engine: FakeEngine, other: FakeEngine, model: ModelRow
    ) -> None:
        other.away = True
        with pytest.raises(UpstreamFailed):
            await reconcile_adapters(wv)
        await sv.mirrors.refresh()
        assert (sv.residency.is_up(engine.url), sv.residency.is_up(other.url)) == (True, False)
        assert sv.residency.ready(model.id) == {engine.url}

    async def test_one_that_hangs_holds_the_other_up_for_nothing(
        self, wv: WorkerServices, engine: FakeEngine, other: FakeEngine, model: ModelRow
    ) -> None:
        other.hangs = True
        async with working(wv, round_seconds=0.05):
            await until(lambda: model.id in engine.adapters)
            engine.adapters.clear()
            await until(lambda: model.id in engine.adapters)
        other.hangs = False

    async def test_adapter_that_is_not_applied_gets_no_call_and_leaves_the_engine(
        self, wv: WorkerServices, engine: FakeEngine, other: FakeEngine, model: ModelRow
    ) -> None:
        other.unapplied.add(model.id)
        await reconcile_adapters(wv)
        assert await states(wv, model.id) == {engine.url: ("ready", None), other.url: ("failed", "probe_failed")}
        assert (list(engine.adapters), list(other.adapters)) == ([model.id], [])
        assert other.loads == [model.id] * 2  # once more from the start, for what it had may be stale
        other.unapplied.clear()
        await round_(wv)
        assert (await states(wv, model.id))[other.url] == ("ready", None)

    async def test_adapter_of_another_base_never_reaches_the_engine(
        self, wv: WorkerServices, settings: Settings, engine: FakeEngine, model: ModelRow
    ) -> None:
        """vLLM would take it, and answer nonsense with it."""
        write(Path(settings.engine.model_path) / "model.safetensors", **{"model.q.weight": [64, 32]})
        weights = settings.data_dir / model.adapter_path / "adapter_model.safetensors"
        write(weights, **{"base_model.model.model.q.lora_A.weight": [8, 48]})
        await reconcile_adapters(wv)
        assert (await states(wv, model.id))[engine.url] == ("failed", "wrong_base")
        assert engine.loads == []

    async def test_other_files_under_its_name_are_replaced(
        self, wv: WorkerServices, engine: FakeEngine, other: FakeEngine, model: ModelRow
    ) -> None:
        elsewhere = wv.settings.data_dir / "adapters" / "elsewhere"
        elsewhere.mkdir()
        engine.adapters[model.id] = str(elsewhere)
        await reconcile_adapters(wv)
        assert engine.adapters[model.id] == str(wv.settings.data_dir / model.adapter_path)
        assert (await states(wv, model.id))[engine.url] == ("ready", None)

    async def test_what_a_worker_loaded_before_it_died_is_probed_and_kept(
        self, wv: WorkerServices, engine: FakeEngine, model: ModelRow
    ) -> None:
        engine.adapters[model.id] = str(wv.settings.data_dir / model.adapter_path)
        await reconcile_adapters(wv)
        assert engine.loads == []
        assert model.id in engine.probes
        assert (await states(wv, model.id))[engine.url] == ("ready", None)

    async def test_round_without_a_change_asks_what_is_served_and_nothing_else(
        self, wv: WorkerServices, engine: FakeEngine, model: ModelRow, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for _ in range(3):
            await reconcile_adapters(wv)
        queries: list[str] = []
        session = type(wv.database).session
        monkeypatch.setattr(type(wv.database), "session", lambda self: queries.append("one") or session(self))
        looks, probes, loads = engine.looks, len(engine.probes), len(engine.loads)
        for _ in range(5):
            await reconcile_adapters(wv)
        assert len(queries) == 5 * 2  # one a replica
        assert (engine.looks, len(engine.probes), len(engine.loads)) == (looks + 5, probes, loads)

    async def test_of_two_workers_one_watches_and_the_other_takes_over(
        self, wv: WorkerServices, settings: Settings, engine: FakeEngine, model: ModelRow
    ) -> None:
        await reconcile_adapters(wv)
        async with worker_services(settings) as second:
            engine.adapters.clear()
            await reconcile_adapters(second)
            assert engine.adapters == {}  # the first is at it
            async with working(wv, round_seconds=0.05):
                await until(lambda: model.id in engine.adapters)
            engine.adapters.clear()
            await reconcile_adapters(second)  # the first has stopped
            assert list(engine.adapters) == [model.id]

    async def test_where_the_engine_sees_the_files_elsewhere(
        self, wv: WorkerServices, settings: Settings, engine: FakeEngine, model: ModelRow
    ) -> None:
        seen = settings.data_dir / "mounted"
        seen.symlink_to(settings.data_dir)
        mapped = msgspec.structs.replace(settings.engine, data_dir=str(seen))
        there = dataclasses.replace(wv, settings=msgspec.structs.replace(settings, engine=mapped))
        await reconcile_adapters(there)
        assert engine.adapters == {model.id: str(seen / model.adapter_path)}

    async def test_key_of_the_engine_is_sent(
        self, wv: WorkerServices, settings: Settings, engine: FakeEngine, model: ModelRow
    ) -> None:
        keyed = msgspec.structs.replace(settings.engine, api_key=type(settings.engine.api_key)("sk-engine"))
        await reconcile_adapters(dataclasses.replace(wv, settings=msgspec.structs.replace(settings, engine=keyed)))
        assert engine.keys == {"Bearer sk-engine"}


class TestMetrics:
    async def test_show_each_replica(
        self, client: Client, wv: WorkerServices, sv: Services, engine: FakeEngine, other: FakeEngine, model: ModelRow
    ) -> None:
        other.refusals["*"] = (500, "LoRA rank 64 is greater than max_lora_rank 16.")
        await reconcile_adapters(wv)
        await sv.mirrors.refresh()
        lines = (await client.get("/metrics")).text.splitlines()
        for line in (
            f'tuneway_replica_up{{replica="{engine.url}"}} 1.0',
            f'tuneway_adapters_ready{{replica="{engine.url}"}} 1.0',
            f'tuneway_adapters_ready{{replica="{other.url}"}} 0.0',
            f'tuneway_adapter_loads_total{{replica="{engine.url}"}} 1.0',
            f'tuneway_adapter_failures_total{{replica="{other.url}"}} 1.0',
            f'tuneway_adapter_evictions_total{{replica="{engine.url}"}} 0.0',
        ):
            assert line in lines
