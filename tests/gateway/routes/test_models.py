"""/v1/models"""

from typing import Any

import httpx
import msgspec
import pytest

from gateway.app import App
from gateway.db.database import Database
from gateway.db.mirror import Mirrors
from gateway.errors import ModelNotFound
from gateway.routing.catalog import Catalog
from gateway.settings import EngineSettings, Settings
from tests.conftest import chat, client_of, create_key
from tests.contract import conforms
from tests.fakes.engine import BASE
from tests.fakes.tuned_models import add_job, add_tuned, live, set_status

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """With an engine that is away: no list of models needs it."""
    engine = EngineSettings(url="http://127.0.0.1:9/v1", model=BASE, model_path="/nowhere")
    return msgspec.structs.replace(settings, engine=engine)


async def listed(client: Client) -> list[str]:
    body = (await client.get("/v1/models")).json()
    conforms("ListModelsResponse", body)
    return [model["id"] for model in body["data"] if model["id"].startswith("ft:")]


def error_in(answer: httpx.Response) -> tuple[int, str, str]:
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return answer.status_code, error["code"], error["message"]


class TestModels:
    async def test_are_listed_as_openai_does(self, client: Client) -> None:
        body = (await client.get("/v1/models")).json()
        conforms("ListModelsResponse", body)
        assert {"id": "echo", "object": "model", "created": 0, "owned_by": "fake"} in body["data"]

    async def test_one_by_its_name(self, client: Client) -> None:
        for path in ("echo", "模型 é", "%E6%A8%A1%E5%9E%8B%20%C3%A9"):
            body = (await client.get(f"/v1/models/{path}")).json()
            conforms("Model", body)
        assert body["id"] == "模型 é"

    async def test_an_unknown_one_is_404(self, client: Client) -> None:
        for path in ("nothing", "org%2Fname", "ft:base:org::x", "a/b/c", "ft:base:org::x/export"):
            answer = await client.get(f"/v1/models/{path}")
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")

    async def test_finals_and_checkpoints_are_listed_for_their_project_alone(
        self, client: Client, stranger: Client, database: Database, project_key: dict[str, Any]
    ) -> None:
        job = await add_job(database, project_key)
        names = [(await add_tuned(database, job, step=step)).id for step in (4, 8, None)]
        assert names[0] == "ft:base:tuneway::12345678:ckpt-step-4"
        assert await listed(client) == names
        assert await listed(stranger) == []


class TestDelete:
    @pytest.mark.parametrize("escaped", [False, True])
    @pytest.mark.parametrize("step", [None, 8])
    async def test_is_gone_from_lists_and_calls(
        self, client: Client, database: Database, project_key: dict[str, Any], step: int | None, *, escaped: bool
    ) -> None:
        job = await add_job(database, project_key)
        name = (await add_tuned(database, job, step=step)).id
        kept = (await add_tuned(database, job, step=9)).id
        answer = await client.delete(f"/v1/models/{name.replace(':', '%3A') if escaped else name}")
        assert answer.json() == {"id": name, "object": "model", "deleted": True}
        conforms("DeleteModelResponse", answer.json())
        assert await listed(client) == [kept]
        assert error_in(await client.post("/v1/chat/completions", json=chat(name)))[:2] == (404, "model_not_found")
        assert error_in(await client.get(f"/v1/models/{name}"))[:2] == (404, "model_not_found")
        assert error_in(await client.delete(f"/v1/models/{name}"))[:2] == (404, "model_not_found")

    async def test_other_processes_know_it_at_their_next_look(
        self, client: Client, database: Database, settings: Settings, project_key: dict[str, Any]
    ) -> None:
        name = (await add_tuned(database, await add_job(database, project_key))).id
        catalog = Catalog(settings)
        mirrors = Mirrors(database, [catalog])
        await mirrors.refresh()
        assert catalog.find(name, project_key["project_id"])
        await client.delete(f"/v1/models/{name}")
        await mirrors.refresh()
        with pytest.raises(ModelNotFound):
            catalog.find(name, project_key["project_id"])

    @pytest.mark.parametrize("name", [BASE, "echo"])
    async def test_base_and_providers_models_are_refused(self, client: Client, name: str) -> None:
        status, code, message = error_in(await client.delete(f"/v1/models/{name}"))
        assert (status, code) == (403, "insufficient_permissions")
        assert message.startswith(f"The model `{name}` was not fine-tuned here")

    async def test_of_another_project_does_not_exist(
        self, stranger: Client, database: Database, project_key: dict[str, Any]
    ) -> None:
        name = (await add_tuned(database, await add_job(database, project_key))).id
        assert error_in(await stranger.delete(f"/v1/models/{name}"))[:2] == (404, "model_not_found")
        assert await live(database) == [name]

    @pytest.mark.parametrize("status", ["validating_files", "queued", "running", "paused"])
    async def test_that_a_job_continues_from_is_refused_until_the_job_has_ended(
        self, client: Client, database: Database, project_key: dict[str, Any], status: str
    ) -> None:
        name = (await add_tuned(database, await add_job(database, project_key), step=8)).id
        await add_job(database, project_key, "ftjob-child", model=name, status=status)
        answer = await client.delete(f"/v1/models/{name}")
        assert error_in(answer)[:2] == (409, "conflict")
        assert "job ftjob-child continues from it" in error_in(answer)[2]
        assert answer.headers["x-should-retry"] == "false"
        assert await listed(client) == [name]
        await set_status(database, "ftjob-child", "failed")
        assert (await client.delete(f"/v1/models/{name}")).status_code == 200

    async def test_that_another_projects_job_continues_from_names_no_job(
        self, client: Client, database: Database, project_key: dict[str, Any], admin: Client
    ) -> None:
        name = (await add_tuned(database, await add_job(database, project_key))).id
        await add_job(database, await create_key(admin, "second"), "ftjob-child", model=name, status="running")
        message = error_in(await client.delete(f"/v1/models/{name}"))[2]
        assert message == f"The model `{name}` is in use: a job of another project continues from it. Wait for its end."

    async def test_name_with_a_slash(self, client: Client, database: Database, project_key: dict[str, Any]) -> None:
        name = "ft:org/base:tuneway::12345678"
        await add_tuned(database, await add_job(database, project_key), id=name)
        assert (await client.delete(f"/v1/models/{name.replace('/', '%2F')}")).json()["id"] == name


class TestShared:
    async def test_project_with_a_permission_calls_and_lists_but_does_not_delete(
        self, app: App, admin: Client, client: Client, database: Database, project_key: dict[str, Any]
    ) -> None:
        name = (await add_tuned(database, await add_job(database, project_key), step=8)).id
        other = await create_key(admin, "other")
        path = f"/v1/fine_tuning/checkpoints/{name}/permissions"
        [permission] = (await admin.post(path, json={"project_ids": [other["project_id"]]})).json()["data"]
        async with client_of(app, other["value"]) as guest:
            assert await listed(guest) == [name]
            assert (await guest.post("/v1/chat/completions", json=chat(name))).status_code == 502  # the engine is away
            refused = error_in(await guest.delete(f"/v1/models/{name}"))
            assert refused[:2] == (403, "insufficient_permissions")
            assert "belongs to another project" in refused[2]
            assert error_in(await guest.get(f"/v1/models/{name}/export"))[:2] == (404, "model_not_found")
            await admin.delete(f"{path}/{permission['id']}")
            assert await listed(guest) == []
            assert error_in(await guest.post("/v1/chat/completions", json=chat(name)))[0] == 404
        assert await listed(client) == [name]
