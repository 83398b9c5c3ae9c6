"""/v1/organization/projects and service accounts"""

from typing import Any

import httpx
import pytest

from gateway.app import App
from tests.conftest import client_of, create_key
from tests.contract import conforms
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio

PROJECTS = "/v1/organization/projects"


async def made(admin: httpx.AsyncClient, name: str = "p") -> dict[str, Any]:
    return (await admin.post(PROJECTS, json={"name": name})).json()


async def calls(app: App, secret: str) -> int:
    """The status that a key gets."""
    async with client_of(app, secret) as client:
        return (await client.get("/v1/models")).status_code


class TestProjects:
    async def test_are_made_read_renamed_and_listed(self, admin: httpx.AsyncClient) -> None:
        project = await made(admin, "first")
        conforms("Project", project)
        assert (project["name"], project["status"], project["archived_at"]) == ("first", "active", None)
        renamed = await admin.post(f"{PROJECTS}/{project['id']}", json={"name": "second"})
        assert renamed.json() == project | {"name": "second"}
        assert (await admin.get(f"{PROJECTS}/{project['id']}")).json() == renamed.json()
        listed = (await admin.get(PROJECTS)).json()
        conforms("ProjectListResponse", listed)
        assert listed["data"] == [renamed.json()]

    async def test_are_paged_from_the_oldest(self, admin: httpx.AsyncClient) -> None:
        ids = [(await made(admin, str(number)))["id"] for number in range(5)]
        shown: list[str] = []
        page: dict[str, Any] = {"has_more": True, "last_id": None}
        while page["has_more"]:
            query = {"limit": 2} | ({"after": page["last_id"]} if page["last_id"] else {})
            page = (await admin.get(PROJECTS, params=query)).json()
            assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][-1]["id"])
            shown += [each["id"] for each in page["data"]]
        assert shown == ids

    async def test_an_empty_list_has_null_ids(self, admin: httpx.AsyncClient) -> None:
        empty = {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
        assert (await admin.get(PROJECTS)).json() == empty

    async def test_an_archived_one_stops_its_keys_at_once_and_hides(self, app: App, admin: httpx.AsyncClient) -> None:
        key = await create_key(admin, "p")
        assert await calls(app, key["value"]) == 200
        archived = (await admin.post(f"{PROJECTS}/{key['project_id']}/archive")).json()
        assert (archived["status"], archived["archived_at"] is not None) == ("archived", True)
        conforms("Project", archived)
        assert await calls(app, key["value"]) == 401
        assert (await admin.get(PROJECTS)).json()["data"] == []
        assert len((await admin.get(PROJECTS, params={"include_archived": "true"})).json()["data"]) == 1
        again = await admin.post(f"{PROJECTS}/{key['project_id']}/archive")
        assert again.json() == archived

    async def test_unknown_ones_are_404(self, admin: httpx.AsyncClient) -> None:
        for method, path in (
            ("GET", "x"),
            ("POST", "x"),
            ("POST", "x/archive"),
            ("GET", "x/service_accounts"),
            ("GET", "x/api_keys"),
        ):
            answer = await admin.request(method, f"{PROJECTS}/{path}", json={"name": "n"})
            assert error_in(answer, 404)["param"] == "project_id"

    async def test_fields_are_checked(self, admin: httpx.AsyncClient) -> None:
        assert error_in(await admin.post(PROJECTS, json={}), 400)["param"] == "name"
        assert error_in(await admin.post(PROJECTS, json={"name": 3}), 400)["param"] == "name"
        assert error_in(await admin.post(PROJECTS, json={"name": "n", "colour": "red"}), 400)["param"] == "colour"
        assert error_in(await admin.get(PROJECTS, params={"limit": "0"}), 400)["param"] == "limit"
        assert error_in(await admin.get(PROJECTS, params={"after": "x"}), 400)["param"] == "after"


class TestServiceAccounts:
    async def test_come_with_a_key_that_is_shown_once(self, app: App, admin: httpx.AsyncClient) -> None:
        project = await made(admin)
        url = f"{PROJECTS}/{project['id']}/service_accounts"
        account = (await admin.post(url, json={"name": "app"})).json()
        conforms("ProjectServiceAccountCreateResponse", account)
        assert await calls(app, account["api_key"]["value"]) == 200
        shown = (await admin.get(f"{url}/{account['id']}")).json()
        conforms("ProjectServiceAccount", shown)
        assert "api_key" not in shown
        listed = (await admin.get(url)).json()
        conforms("ProjectServiceAccountListResponse", listed)
        assert listed["data"] == [shown]

    async def test_or_without_one(self, admin: httpx.AsyncClient) -> None:
        url = f"{PROJECTS}/{(await made(admin))['id']}/service_accounts"
        account = (await admin.post(url, json={"name": "app", "create_service_account_only": True})).json()
        assert account["api_key"] is None

    async def test_get_more_keys(self, app: App, admin: httpx.AsyncClient) -> None:
        first = await create_key(admin, "p")
        url = f"{PROJECTS}/{first['project_id']}/service_accounts/{first['account']}/api_keys"
        named = (await admin.post(url, json={"name": "second"})).json()
        unnamed = (await admin.post(url)).json()
        assert (named["name"], unnamed["name"]) == ("second", "app")
        assert [await calls(app, key["value"]) for key in (first, named, unnamed)] == [200] * 3

    async def test_deletion_stops_every_key(self, app: App, admin: httpx.AsyncClient) -> None:
        key = await create_key(admin, "p")
        url = f"{PROJECTS}/{key['project_id']}/service_accounts"
        second = (await admin.post(f"{url}/{key['account']}/api_keys")).json()
        deleted = (await admin.delete(f"{url}/{key['account']}")).json()
        conforms("ProjectServiceAccountDeleteResponse", deleted)
        assert [await calls(app, each["value"]) for each in (key, second)] == [401, 401]
        assert error_in(await admin.get(f"{url}/{key['account']}"), 404)
        assert (await admin.get(url)).json()["data"] == []

    async def test_of_another_project_are_404(self, admin: httpx.AsyncClient) -> None:
        key = await create_key(admin, "p")
        other = await made(admin, "q")
        url = f"{PROJECTS}/{other['id']}/service_accounts/{key['account']}"
        for method, path in (("GET", url), ("DELETE", url), ("POST", f"{url}/api_keys")):
            error_in(await admin.request(method, path), 404)
