"""Operators' direct control of what the engine has loaded, with the queue's real worker and two fake engines."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import msgspec
import pytest

from gateway.db.tables import ModelRow
from gateway.services import Services, WorkerServices, worker_services
from gateway.settings import EngineSettings, Settings
from gateway.tasks.reconcile_adapters import reconcile_adapters
from tests.conftest import chat
from tests.fakes.engine import BASE, FakeEngine, running_engine
from tests.fakes.tuned_models import add_job, add_tuned
from tests.fakes.working import working

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient
NO_FALLBACK = {"x-tuneway-fallback": "off"}


@pytest.fixture
def engines() -> Iterator[tuple[FakeEngine, FakeEngine]]:
    with running_engine() as one, running_engine() as other:
        yield one, other


@pytest.fixture
def settings(settings: Settings, engines: tuple[FakeEngine, FakeEngine]) -> Settings:
    one, other = engines
    return msgspec.structs.replace(
        settings, engine=EngineSettings(url=one.url, replicas=(other.url,), model=BASE, load_seconds=5.0)
    )


@pytest.fixture
async def wv(settings: Settings) -> AsyncIterator[WorkerServices]:
    async with worker_services(settings) as wv, working(wv):
        yield wv


@pytest.fixture
async def model(wv: WorkerServices, project_key: dict[str, Any], sv: Services) -> ModelRow:
    row = await add_tuned(wv.database, await add_job(wv.database, project_key), wv.settings.data_dir)
    await sv.mirrors.refresh()
    return row


class TestLoad:
    async def test_on_every_replica(
        self, admin: Client, client: Client, model: ModelRow, engines: tuple[FakeEngine, FakeEngine]
    ) -> None:
        answer = await admin.post("/v1/models/load", json={"model": model.id})
        assert answer.status_code == 200, answer.text
        placed = answer.json()
        assert [placed["replicas"][engine.url]["state"] for engine in engines] == ["ready", "ready"]
        assert placed["replicas"][engines[0].url]["probe"]["applied"] is True
        assert all(list(engine.adapters) == [model.id] for engine in engines)
        reply = await client.post("/v1/chat/completions", json=chat(model.id), headers=NO_FALLBACK)
        assert reply.json()["choices"][0]["message"]["content"] == model.id

    async def test_on_one_replica(self, admin: Client, model: ModelRow, engines: tuple[FakeEngine, FakeEngine]) -> None:
        one, other = engines
        answer = await admin.post("/v1/models/load", json={"model": model.id, "replica": other.url + "/"})
        assert answer.json()["replicas"] == {other.url: answer.json()["replicas"][other.url]}
        assert (list(one.adapters), list(other.adapters)) == ([], [model.id])

    async def test_that_is_refused_names_the_failure_and_the_way_out(
        self, admin: Client, model: ModelRow, engines: tuple[FakeEngine, FakeEngine]
    ) -> None:
        for engine in engines:
            engine.refusals["*"] = (500, "LoRA rank 64 is greater than max_lora_rank 16.")
        answer = await admin.post("/v1/models/load", json={"model": model.id})
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (409, "rank_too_large")
        assert "--max-lora-rank 64" in error["message"]

    async def test_needs_an_admin_key_and_a_fine_tuned_model_and_a_replica_of_ours(
        self, admin: Client, client: Client, model: ModelRow
    ) -> None:
        wanted = {"model": model.id}
        assert (await client.post("/v1/models/load", json=wanted)).status_code == 403
        for body, status, param in (
            ({"model": BASE}, 400, "model"),
            ({"model": "ft:base:x::y"}, 404, "model"),
            ({"model": model.id, "replica": "http://x/v1"}, 400, "replica"),
            ({"model": model.id, "replicas": []}, 400, "replicas"),
            ({}, 400, "model"),
        ):
            answer = await admin.post("/v1/models/load", json=body)
            assert (answer.status_code, answer.json()["error"]["param"]) == (status, param), answer.text

    async def test_while_no_replica_is_up(
        self, admin: Client, wv: WorkerServices, model: ModelRow, engines: tuple[FakeEngine, FakeEngine]
    ) -> None:
        for engine in engines:
            engine.away = True
        with pytest.raises(Exception, match="engine"):
            await reconcile_adapters(wv)
        answer = await admin.post("/v1/models/load", json={"model": model.id})
        assert answer.status_code == 503
        assert f"{engines[0].url} is down" in answer.json()["error"]["message"]


class TestUnload:
    async def test_is_gone_until_it_is_called(
        self,
        admin: Client,
        client: Client,
        wv: WorkerServices,
        model: ModelRow,
        engines: tuple[FakeEngine, FakeEngine],
    ) -> None:
        await reconcile_adapters(wv)
        answer = await admin.post("/v1/models/unload", json={"model": model.id})
        assert (answer.status_code, answer.json()["replicas"][engines[0].url]["state"]) == (200, "unloaded")
        for _ in range(2):
            await reconcile_adapters(wv)
        assert not any(engine.adapters for engine in engines)
        reply = await client.post("/v1/chat/completions", json=chat(model.id), headers=NO_FALLBACK)
        assert reply.json()["choices"][0]["message"]["content"] == model.id

    async def test_from_one_replica_leaves_the_other(
        self, admin: Client, wv: WorkerServices, model: ModelRow, engines: tuple[FakeEngine, FakeEngine]
    ) -> None:
        one, other = engines
        await reconcile_adapters(wv)
        await admin.post("/v1/models/unload", json={"model": model.id, "replica": one.url})
        await reconcile_adapters(wv)
        assert (list(one.adapters), list(other.adapters)) == ([], [model.id])


class TestActive:
    async def test_shows_each_replica_with_what_it_has(
        self, admin: Client, wv: WorkerServices, model: ModelRow, engines: tuple[FakeEngine, FakeEngine]
    ) -> None:
        one, other = engines
        other.away = True
        with pytest.raises(Exception, match="engine"):
            await reconcile_adapters(wv)
        shown = (await admin.get("/v1/models/active")).json()["data"]
        assert [(each["url"], each["state"]) for each in shown] == [(one.url, "up"), (other.url, "down")]
        [loaded] = shown[0]["models"]
        assert (loaded["model"], loaded["state"], loaded["probe"]["applied"]) == (model.id, "ready", True)
        assert shown[1]["models"] == []
        assert shown[1]["problem"]

    async def test_needs_an_admin_key(self, client: Client, model: ModelRow) -> None:
        assert (await client.get("/v1/models/active")).status_code == 403
        assert (await client.get("/v1/models/deployments")).status_code == 403


class TestDeployments:
    async def test_tell_what_happened_and_who_wanted_it(
        self, admin: Client, wv: WorkerServices, model: ModelRow, engines: tuple[FakeEngine, FakeEngine]
    ) -> None:
        one, _ = engines
        await reconcile_adapters(wv)
        one.adapters.clear()
        await reconcile_adapters(wv)
        await admin.post("/v1/models/unload", json={"model": model.id, "replica": one.url})
        page = (await admin.get("/v1/models/deployments", params={"model": model.id})).json()
        told = [(event["action"], event["reason"]) for event in page["data"] if event["replica"] == one.url]
        assert told == [
            ("unloaded", "api key first admin"),
            ("restored", "the replica lost it"),
            ("lost", "the replica lost it"),
            ("loaded", "the reconcile loop"),
        ]

    async def test_come_page_by_page_and_of_one_model(self, admin: Client, wv: WorkerServices, model: ModelRow) -> None:
        await reconcile_adapters(wv)
        first = (await admin.get("/v1/models/deployments?limit=1")).json()
        second = (await admin.get(f"/v1/models/deployments?limit=1&after={first['last_id']}")).json()
        assert (first["has_more"], second["has_more"]) == (True, False)
        assert first["data"] != second["data"]
        assert (await admin.get("/v1/models/deployments?model=ft:x")).json()["data"] == []
