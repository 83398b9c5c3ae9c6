"""/v1/fine_tuning/checkpoints/{checkpoint}/permissions"""

from typing import Any

import httpx
import msgspec
import pytest

from gateway.db.database import Database
from gateway.settings import EngineSettings, Settings
from tests.conftest import create_key
from tests.contract import conforms
from tests.fakes.engine import BASE
from tests.fakes.tuned_models import add_job, add_tuned

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient


@pytest.fixture
def settings(settings: Settings) -> Settings:
    engine = EngineSettings(url="http://127.0.0.1:9/v1", model=BASE, model_path="/nowhere")
    return msgspec.structs.replace(settings, engine=engine)


@pytest.fixture
async def path(database: Database, project_key: dict[str, Any]) -> str:
    """Of a checkpoint's permissions."""
    name = (await add_tuned(database, await add_job(database, project_key), step=8)).id
    return f"/v1/fine_tuning/checkpoints/{name}/permissions"


@pytest.fixture
async def projects(admin: Client) -> list[str]:
    return [(await create_key(admin, f"project {number}"))["project_id"] for number in range(3)]


async def granted(admin: Client, path: str, **query: Any) -> list[str]:
    body = (await admin.get(path, params=query)).json()
    conforms("ListFineTuningCheckpointPermissionResponse", body)
    return [permission["project_id"] for permission in body["data"]]


def error_in(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    return answer.json()["error"]


class TestCreate:
    async def test_one_for_each_project(self, admin: Client, path: str, projects: list[str]) -> None:
        answer = await admin.post(path, json={"project_ids": projects})
        body = answer.json()
        conforms("ListFineTuningCheckpointPermissionResponse", body)
        assert [permission["project_id"] for permission in body["data"]] == projects
        assert all(permission["id"].startswith("cp_") for permission in body["data"])
        assert (body["first_id"], body["last_id"]) == (body["data"][0]["id"], body["data"][-1]["id"])

    async def test_again_is_the_same_one(self, admin: Client, path: str, projects: list[str]) -> None:
        first = (await admin.post(path, json={"project_ids": projects[:1]})).json()["data"]
        again = (await admin.post(path, json={"project_ids": [projects[0], projects[0]]})).json()["data"]
        assert again == first
        assert await granted(admin, path) == projects[:1]

    async def test_unknown_project_refuses_all_of_them(self, admin: Client, path: str, projects: list[str]) -> None:
        error = error_in(await admin.post(path, json={"project_ids": [projects[0], "proj_none"]}), 404)
        assert "proj_none" in error["message"]
        assert await granted(admin, path) == []

    async def test_archived_project_is_refused(self, admin: Client, path: str, projects: list[str]) -> None:
        await admin.post(f"/v1/organization/projects/{projects[0]}/archive")
        error = error_in(await admin.post(path, json={"project_ids": projects}), 400)
        assert (error["param"], "archived" in error["message"]) == ("project_ids", True)

    @pytest.mark.parametrize("body", [{}, {"project_ids": []}, {"project_ids": "proj_1"}, {"project_id": "proj_1"}])
    async def test_body_that_is_none(self, admin: Client, path: str, body: dict[str, Any]) -> None:
        assert error_in(await admin.post(path, json=body), 400)["param"] in ("project_ids", "project_id")


class TestList:
    async def test_newest_first_page_by_page(self, admin: Client, path: str, projects: list[str]) -> None:
        for project in projects:
            await admin.post(path, json={"project_ids": [project]})
        assert await granted(admin, path) == projects[::-1]
        assert await granted(admin, path, order="ascending") == projects
        found: list[str] = []
        query: dict[str, Any] = {"limit": 1, "order": "ascending"}
        while True:
            body = (await admin.get(path, params=query)).json()
            found += [permission["project_id"] for permission in body["data"]]
            query["after"] = body["last_id"]
            if not body["has_more"]:
                break
        assert found == projects

    async def test_of_one_project(self, admin: Client, path: str, projects: list[str]) -> None:
        await admin.post(path, json={"project_ids": projects})
        assert await granted(admin, path, project_id=projects[1]) == [projects[1]]
        assert await granted(admin, path, project_id="proj_none") == []

    async def test_order_is_openais_words(self, admin: Client, path: str) -> None:
        assert error_in(await admin.get(path, params={"order": "asc"}), 400)["param"] == "order"

    async def test_empty(self, admin: Client, path: str) -> None:
        body = (await admin.get(path)).json()
        assert body == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}


class TestDelete:
    async def test_is_gone(self, admin: Client, path: str, projects: list[str]) -> None:
        made = (await admin.post(path, json={"project_ids": projects})).json()["data"]
        answer = await admin.delete(f"{path}/{made[1]['id']}")
        assert answer.json() == {"id": made[1]["id"], "object": "checkpoint.permission", "deleted": True}
        conforms("DeleteFineTuningCheckpointPermissionResponse", answer.json())
        assert sorted(await granted(admin, path)) == sorted([projects[0], projects[2]])
        error_in(await admin.delete(f"{path}/{made[1]['id']}"), 404)

    async def test_of_another_checkpoint_is_not_found(
        self, admin: Client, path: str, projects: list[str], database: Database, project_key: dict[str, Any]
    ) -> None:
        [made] = (await admin.post(path, json={"project_ids": projects[:1]})).json()["data"]
        other = (await add_tuned(database, await add_job(database, project_key, "ftjob-other"))).id
        error_in(await admin.delete(f"/v1/fine_tuning/checkpoints/{other}/permissions/{made['id']}"), 404)
        assert await granted(admin, path) == projects[:1]


class TestPath:
    async def test_raw_and_escaped_names_are_the_same(
        self, admin: Client, database: Database, project_key: dict[str, Any], projects: list[str]
    ) -> None:
        name = "ft:org/base:tuneway::12345678:ckpt-step-8"
        await add_tuned(database, await add_job(database, project_key), step=8, id=name)
        escaped = name.replace(":", "%3A").replace("/", "%2F")
        await admin.post(f"/v1/fine_tuning/checkpoints/{escaped}/permissions", json={"project_ids": projects})
        assert len(await granted(admin, f"/v1/fine_tuning/checkpoints/{name}/permissions")) == 3

    async def test_unknown_checkpoint_and_base(self, admin: Client, projects: list[str]) -> None:
        for name in ("ft:base:tuneway::none", BASE):
            path = f"/v1/fine_tuning/checkpoints/{name}/permissions"
            assert error_in(await admin.get(path), 404)["code"] == "model_not_found"
            answer = await admin.post(path, json={"project_ids": projects})
            assert error_in(answer, 404)["code"] == "model_not_found"

    @pytest.mark.parametrize("rest", ["", "/x", "/x/permission", "/permissions", "/x/permissions/1/2"])
    async def test_anything_else_is_no_url(self, admin: Client, rest: str) -> None:
        answer = await admin.get(f"/v1/fine_tuning/checkpoints{rest}")
        assert error_in(answer, 404)["code"] in ("unknown_url", "model_not_found")

    async def test_needs_an_admin_key(self, client: Client, path: str) -> None:
        for answer in (await client.get(path), await client.post(path, json={}), await client.delete(f"{path}/x")):
            assert answer.status_code in (401, 403)
