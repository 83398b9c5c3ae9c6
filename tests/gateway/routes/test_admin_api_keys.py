"""/v1/organization/admin_api_keys"""

from typing import Any

import httpx
import pytest
from sqlalchemy import select

from gateway.app import App
from gateway.db.tables import ApiKeyRow, AuditLogRow, UserRow
from gateway.kit.clock import from_unix, now
from gateway.services import Services
from tests.conftest import ADMIN_KEY, client_of
from tests.contract import conforms
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio

URL = "/v1/organization/admin_api_keys"
PROJECTS = "/v1/organization/projects"


async def made(admin: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    answer = await admin.post(URL, json={"name": "ci"} | fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def first(admin: httpx.AsyncClient) -> dict[str, Any]:
    return (await admin.get(URL)).json()["data"][0]


class TestAdminKeys:
    async def test_are_shown_once_with_their_secret(self, app: App, admin: httpx.AsyncClient) -> None:
        key = await made(admin)
        conforms("AdminApiKeyCreateResponse", key)
        async with client_of(app, key["value"]) as another:
            listed = await another.get(URL)
            conforms("ApiKeyList", listed.json())
            assert [each["id"] for each in listed.json()["data"]] == [(await first(admin))["id"], key["id"]]
            assert key["value"] not in listed.text
            shown = (await another.get(f"{URL}/{key['id']}")).json()
        conforms("AdminApiKey", shown)
        del key["value"]
        assert shown == key
        assert (shown["expires_at"], shown["last_used_at"], shown["role"]) == (None, None, "owner")

    async def test_are_listed_from_the_oldest_or_from_the_newest(self, admin: httpx.AsyncClient) -> None:
        ids = [(await first(admin))["id"], *[(await made(admin))["id"] for _ in range(3)]]
        page = (await admin.get(URL, params={"limit": 2})).json()
        assert ([each["id"] for each in page["data"]], page["has_more"]) == (ids[:2], True)
        page = (await admin.get(URL, params={"limit": 2, "after": page["last_id"]})).json()
        assert ([each["id"] for each in page["data"]], page["has_more"]) == (ids[2:], False)
        newest = (await admin.get(URL, params={"order": "desc"})).json()
        assert [each["id"] for each in newest["data"]] == ids[::-1]

    async def test_nobodys_owns_itself(self, admin: httpx.AsyncClient) -> None:
        key = await first(admin)
        assert key["owner"] | {"created_at": 0} == {
            "type": "service_account", "object": "organization.service_account", "id": key["id"], "name": "first admin",
            "created_at": 0, "role": "owner",
        }  # fmt: skip

    async def test_a_persons_says_whose_it_is(self, admin: httpx.AsyncClient, sv: Services) -> None:
        key = await made(admin)
        async with sv.database.session() as session:
            session.add(UserRow(id="user-1", email="a@b.c", name="Ada", role="reader", added_at=from_unix(1)))
            await session.flush()
            (await session.get_one(ApiKeyRow, key["id"])).user_id = "user-1"
        owner = (await admin.get(f"{URL}/{key['id']}")).json()["owner"]
        assert owner == {
            "type": "user", "object": "organization.user", "id": "user-1", "name": "Ada", "created_at": 1, "role": "reader",
        }  # fmt: skip

    async def test_expire(self, app: App, admin: httpx.AsyncClient, sv: Services) -> None:
        key = await made(admin, expires_in_seconds=60)
        assert 0 <= now().timestamp() + 60 - key["expires_at"] < 30
        async with client_of(app, key["value"]) as another:
            assert (await another.get(URL)).status_code == 200
            async with sv.database.session() as session:
                (await session.get_one(ApiKeyRow, key["id"])).expires_at = now()
            async with sv.database.raw() as connection:
                await sv.keys.load(connection)
            assert "has expired" in error_in(await another.get(URL), 401)["message"]

    async def test_a_reader_looks_and_changes_nothing(self, app: App, admin: httpx.AsyncClient) -> None:
        key = await made(admin, role="reader")
        async with client_of(app, key["value"]) as reader:
            for path in (URL, PROJECTS, f"{URL}/{key['id']}"):
                assert (await reader.get(path)).status_code == 200
            changes = [("POST", URL), ("POST", PROJECTS), ("DELETE", f"{URL}/{key['id']}")]
            for method, path in changes:
                answer = await reader.request(method, path, json={"name": "x"})
                assert error_in(answer, 403)["code"] == "insufficient_permissions"

    async def test_a_revoked_one_is_refused_at_once(self, app: App, admin: httpx.AsyncClient) -> None:
        key = await made(admin)
        deleted = (await admin.delete(f"{URL}/{key['id']}")).json()
        assert deleted == {"id": key["id"], "object": "organization.admin_api_key.deleted", "deleted": True}
        async with client_of(app, key["value"]) as another:
            error_in(await another.get(URL), 401)
        for method in ("GET", "DELETE"):
            assert error_in(await admin.request(method, f"{URL}/{key['id']}"), 404)["param"] == "key_id"

    async def test_the_last_that_may_do_everything_stays(self, app: App, admin: httpx.AsyncClient) -> None:
        last = f"{URL}/{(await first(admin))['id']}"
        await made(admin, role="reader")
        await made(admin, expires_in_seconds=1000)
        assert "last admin key" in error_in(await admin.delete(last), 400)["message"]
        another = await made(admin)
        assert (await admin.delete(last)).status_code == 200
        async with client_of(app, another["value"]) as heir:
            error_in(await heir.delete(f"{URL}/{another['id']}"), 400)

    async def test_a_projects_key_is_none(self, admin: httpx.AsyncClient, project_key: dict[str, Any]) -> None:
        assert project_key["id"] not in {each["id"] for each in (await admin.get(URL)).json()["data"]}
        for method in ("GET", "DELETE"):
            error_in(await admin.request(method, f"{URL}/{project_key['id']}"), 404)

    @pytest.mark.parametrize(
        ("body", "param"),
        [
            ({}, "name"),
            ({"name": ""}, "name"),
            ({"name": "n", "expires_in_seconds": 0}, "expires_in_seconds"),
            ({"name": "n", "expires_in_seconds": 31_536_001}, "expires_in_seconds"),
            ({"name": "n", "role": "king"}, "role"),
            ({"name": "n", "scopes": []}, "scopes"),
        ],
    )
    async def test_fields_are_checked(self, admin: httpx.AsyncClient, body: dict[str, Any], param: str) -> None:
        assert error_in(await admin.post(URL, json=body), 400)["param"] == param

    async def test_changes_are_in_the_audit_log_without_secrets(self, admin: httpx.AsyncClient, sv: Services) -> None:
        key = await made(admin)
        await admin.delete(f"{URL}/{key['id']}")
        async with sv.database.session() as session:
            entries = list(await session.scalars(select(AuditLogRow).order_by(AuditLogRow.effective_at)))
        assert [(each.type, each.resource_id) for each in entries] == [
            ("api_key.created", key["id"]), ("api_key.deleted", key["id"]),
        ]  # fmt: skip
        assert {each.actor_id for each in entries} == {(await first(admin))["id"]}
        shown = str([(each.detail, each.actor) for each in entries])
        assert not any(secret in shown for secret in (key["value"], ADMIN_KEY))
