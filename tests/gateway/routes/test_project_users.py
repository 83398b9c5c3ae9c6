"""/v1/organization/projects/{project}/users"""

from typing import Any

import httpx
import pytest

from gateway.app import App
from gateway.services import Services
from tests.contract import conforms
from tests.gateway.people import USERS, add, audit, browser, join, sign_in
from tests.gateway.routes.test_users import give_key, status
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio


@pytest.fixture
def url(project_key: dict[str, Any]) -> str:
    return f"/v1/organization/projects/{project_key['project_id']}/users"


@pytest.fixture
async def person(admin: httpx.AsyncClient) -> dict[str, Any]:
    return await add(admin, "a@example.com", name="Ada")


class TestMembers:
    async def test_join_by_id_or_email_and_have_openais_form(
        self, admin: httpx.AsyncClient, url: str, person: dict[str, Any]
    ) -> None:
        other = await add(admin, "b@example.com")
        joined = (await admin.post(url, json={"user_id": person["id"], "role": "owner"})).json()
        conforms("ProjectUser", joined)
        expected = {"id": person["id"], "name": "Ada", "email": "a@example.com", "role": "owner"}
        assert {name: joined[name] for name in expected} == expected
        second = (await admin.post(url, json={"email": "B@example.com", "role": "member"})).json()
        assert second["id"] == other["id"]
        listed = (await admin.get(url)).json()
        conforms("ProjectUserListResponse", listed)
        assert listed["data"] == [joined, second]
        assert (await admin.get(f"{url}/{person['id']}")).json() == joined

    async def test_are_paged(self, admin: httpx.AsyncClient, url: str) -> None:
        ids = [(await add(admin, f"{number}@example.com"))["id"] for number in range(3)]
        for user_id in ids:
            await admin.post(url, json={"user_id": user_id, "role": "member"})
        first = (await admin.get(url, params={"limit": 2})).json()
        rest = (await admin.get(url, params={"limit": 2, "after": first["last_id"]})).json()
        assert [each["id"] for each in first["data"] + rest["data"]] == ids

    @pytest.mark.parametrize(
        ("body", "status", "param"),
        [
            ({"role": "member"}, 400, "user_id"),
            ({"role": "member", "user_id": "user-x", "email": "a@example.com"}, 400, "user_id"),
            ({"role": "admin", "email": "a@example.com"}, 400, "role"),
            ({"role": "member", "user_id": "user-x"}, 404, "user_id"),
            ({"role": "member", "email": "nobody@example.com"}, 404, "email"),
        ],
    )
    async def test_a_wrong_field_is_named(
        self, admin: httpx.AsyncClient, url: str, person: Any, body: dict[str, str], status: int, param: str
    ) -> None:
        assert error_in(await admin.post(url, json=body), status)["param"] == param

    async def test_join_once(self, admin: httpx.AsyncClient, url: str, person: dict[str, Any]) -> None:
        body = {"user_id": person["id"], "role": "member"}
        assert (await admin.post(url, json=body)).status_code == 200
        error_in(await admin.post(url, json=body | {"role": "owner"}), 409)
        assert (await admin.get(f"{url}/{person['id']}")).json()["role"] == "member"

    async def test_of_an_unknown_project_or_person_are_404(
        self, admin: httpx.AsyncClient, url: str, person: dict[str, Any]
    ) -> None:
        unknown = "/v1/organization/projects/proj_x/users"
        for answer in (
            await admin.get(unknown),
            await admin.post(unknown, json={"user_id": person["id"], "role": "member"}),
            await admin.get(f"{url}/{person['id']}"),
            await admin.post(f"{url}/{person['id']}", json={"role": "owner"}),
            await admin.delete(f"{url}/{person['id']}"),
        ):
            error_in(answer, 404)

    async def test_that_were_deleted_are_gone(self, admin: httpx.AsyncClient, url: str, person: dict[str, Any]) -> None:
        await admin.post(url, json={"user_id": person["id"], "role": "member"})
        await admin.delete(f"{USERS}/{person['id']}")
        assert (await admin.get(url)).json()["data"] == []
        error_in(await admin.get(f"{url}/{person['id']}"), 404)


class TestARole:
    async def test_changes_and_ends_sessions(
        self, app: App, admin: httpx.AsyncClient, url: str, person: dict[str, Any]
    ) -> None:
        await admin.post(url, json={"user_id": person["id"], "role": "owner"})
        async with browser(app) as client:
            await sign_in(client, "a@example.com")
            assert (await client.post(url.removesuffix("/users"), json={"name": "mine"})).status_code == 200
            changed = (await admin.post(f"{url}/{person['id']}", json={"role": "member"})).json()
            assert changed["role"] == "member"
            error_in(await client.get(USERS), 401)
            await sign_in(client, "a@example.com")
            error_in(await client.post(url.removesuffix("/users"), json={"name": "mine"}), 403)
        [entry] = await audit(admin, "user.updated")
        assert entry["user.updated"]["changes_requested"] == {"role": "member"}
        assert entry["project"]["id"] in url

    async def test_that_an_owner_of_the_project_changes_ends_nobodys_sessions(
        self, app: App, admin: httpx.AsyncClient, url: str, person: dict[str, Any]
    ) -> None:
        """They can let anybody join, and would keep an owner of the organisation out of everything; the role holds at once."""
        other = await add(admin, "b@example.com", "owner")
        await admin.post(url, json={"user_id": person["id"], "role": "owner"})
        async with browser(app) as client, browser(app) as owner:
            await sign_in(client, "a@example.com")
            await sign_in(owner, "b@example.com")
            assert (await client.post(url, json={"email": "b@example.com", "role": "member"})).status_code == 200
            changed = await client.post(f"{url}/{other['id']}", json={"role": "owner"})
            assert changed.json()["role"] == "owner"
            assert (await owner.get(USERS)).status_code == 200
            await admin.post(f"{url}/{other['id']}", json={"role": "member"})
            error_in(await owner.get(USERS), 401)


class TestWhoLeaves:
    async def test_keeps_the_organization_and_loses_the_keys(
        self, app: App, sv: Services, admin: httpx.AsyncClient, url: str, person: dict[str, Any]
    ) -> None:
        project_id = url.split("/")[4]
        await join(admin, project_id, person["id"], "member")
        await give_key(sv, person["id"], "sk-of-a-person", project_id)
        assert await status(app, "sk-of-a-person", "/v1/models") == 200
        left = (await admin.delete(f"{url}/{person['id']}")).json()
        conforms("ProjectUserDeleteResponse", left)
        assert await status(app, "sk-of-a-person", "/v1/models") == 401
        assert (await admin.get(f"{USERS}/{person['id']}")).status_code == 200
        [entry] = await audit(admin, "user.deleted")
        assert entry["project"]["id"] == project_id
