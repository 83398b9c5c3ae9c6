"""Every model that a project may call or once made."""

from typing import Any

import httpx
import msgspec
import pytest

from gateway.db.database import Database
from gateway.db.tables import FineTuningJobRow, ModelRow
from gateway.services import Services
from gateway.settings import EngineSettings, Settings
from tests.conftest import chat
from tests.fakes.engine import BASE
from tests.fakes.tuned_models import add_job, add_tuned
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio

URL = "/v1/registry"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    engine = EngineSettings(url="http://127.0.0.1:9/v1", model=BASE, model_path="/nowhere")
    return msgspec.structs.replace(settings, engine=engine)


@pytest.fixture
async def job(database: Database, project_key: dict[str, Any]) -> FineTuningJobRow:
    return await add_job(database, project_key, request_metadata={"goal": "answer tickets"})


@pytest.fixture
async def tuned(database: Database, sv: Services, job: FineTuningJobRow) -> ModelRow:
    row = await add_tuned(database, job)
    await sv.mirrors.refresh()
    return row


async def listed(client: httpx.AsyncClient, **query: Any) -> dict[str, dict[str, Any]]:
    answer = await client.get(URL, params=query)
    assert answer.status_code == 200, answer.text
    return {each["id"]: each for each in answer.json()["data"]}


class TestList:
    async def test_base_providers_and_own_models_with_what_they_cost(
        self, client: httpx.AsyncClient, tuned: ModelRow
    ) -> None:
        told = await listed(client)
        assert (told[BASE]["kind"], told[BASE]["trainable"], told[BASE]["own"]) == ("base", True, False)
        assert (told["echo"]["kind"], told["echo"]["trainable"], told["echo"]["owned_by"]) == (
            "provider",
            False,
            "fake",
        )
        assert told["echo"]["price"]["input_usd"] == 5
        assert told["unpriced"]["price"] is None
        own = told[tuned.id]
        assert (own["kind"], own["status"], own["own"], own["trainable"]) == ("adapter", "active", True, True)
        assert (own["trained_from"], own["description"]) == (BASE, "answer tickets")

    async def test_deleted_ones_stay_in_it(self, client: httpx.AsyncClient, tuned: ModelRow) -> None:
        assert (await client.delete(f"/v1/models/{tuned.id}")).status_code == 200
        own = (await listed(client))[tuned.id]
        assert (own["status"], own["trainable"]) == ("deleted", False)
        assert own["deleted_at"] is not None

    async def test_checkpoints_on_request(
        self, client: httpx.AsyncClient, database: Database, job: FineTuningJobRow, tuned: ModelRow
    ) -> None:
        checkpoint = await add_tuned(database, job, step=2)
        assert checkpoint.id not in await listed(client)
        assert (await listed(client, checkpoints="true"))[checkpoint.id]["step"] == 2

    async def test_page_by_page(
        self, client: httpx.AsyncClient, database: Database, project_key: dict[str, Any]
    ) -> None:
        made = [
            (await add_tuned(database, await add_job(database, project_key, f"ftjob-{letter * 20}"))).id
            for letter in "abc"
        ]
        first = (await client.get(URL, params={"limit": 2})).json()
        assert [each["id"] for each in first["data"] if each["own"]] == made[:0:-1]
        assert first["has_more"] is True
        rest = (await client.get(URL, params={"limit": 2, "after": first["last_id"]})).json()
        assert [each["id"] for each in rest["data"]] == made[:1]

    async def test_what_each_was_used_for(self, client: httpx.AsyncClient, sv: Services) -> None:
        for _ in range(2):
            await client.post("/v1/chat/completions", json=chat("echo"))
        await sv.drain.drain()
        used = (await listed(client))["echo"]["used"]
        assert used["requests"] == 2
        assert used["cost_usd"] > 0


class TestUpdate:
    async def test_deprecated_and_described_it_answers_all_the_same(
        self, client: httpx.AsyncClient, sv: Services, tuned: ModelRow
    ) -> None:
        answer = await client.post(f"{URL}/{tuned.id}", json={"deprecated": True, "description": "older"})
        assert (answer.json()["status"], answer.json()["description"]) == ("deprecated", "older")
        assert (await client.get(f"/v1/models/{tuned.id}")).status_code == 200
        since = answer.json()["deprecated_at"]
        again = (await client.post(f"{URL}/{tuned.id}", json={"deprecated": True})).json()
        assert again["deprecated_at"] == since
        back = (await client.post(f"{URL}/{tuned.id}", json={"deprecated": False})).json()
        assert (back["status"], back["description"]) == ("active", "older")

    async def test_only_what_the_project_made(
        self, client: httpx.AsyncClient, stranger: httpx.AsyncClient, tuned: ModelRow
    ) -> None:
        error_in(await stranger.post(f"{URL}/{tuned.id}", json={"deprecated": True}), 404)
        error_in(await client.post(f"{URL}/echo", json={"deprecated": True}), 404)
        assert (await listed(client))[tuned.id]["status"] == "active"

    async def test_not_a_deleted_one(self, client: httpx.AsyncClient, tuned: ModelRow) -> None:
        await client.delete(f"/v1/models/{tuned.id}")
        error_in(await client.post(f"{URL}/{tuned.id}", json={"deprecated": True}), 409)

    async def test_something_is_to_be_changed(self, client: httpx.AsyncClient, tuned: ModelRow) -> None:
        error_in(await client.post(f"{URL}/{tuned.id}", json={}), 400)


class TestRetrieve:
    async def test_one(self, client: httpx.AsyncClient, tuned: ModelRow) -> None:
        assert (await client.get(f"{URL}/{tuned.id}")).json()["job_id"] == tuned.job_id
        assert (await client.get(f"{URL}/{BASE}")).json()["kind"] == "base"
        error_in(await client.get(f"{URL}/nothing"), 404)
