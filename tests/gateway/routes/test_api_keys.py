"""/v1/organization/projects/{project}/api_keys"""

import httpx
import pytest
from sqlalchemy import update

from gateway.app import App
from gateway.db.tables import ApiKeyRow
from gateway.kit.clock import from_unix
from gateway.services import Services
from tests.conftest import client_of, create_key
from tests.contract import conforms
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio

PROJECTS = "/v1/organization/projects"


class TestKeys:
    async def test_are_shown_without_their_secret(self, admin: httpx.AsyncClient) -> None:
        key = await create_key(admin, "p")
        url = f"{PROJECTS}/{key['project_id']}/api_keys"
        listed = await admin.get(url)
        conforms("ProjectApiKeyListResponse", listed.json())
        (shown,) = listed.json()["data"]
        assert (await admin.get(f"{url}/{key['id']}")).json() == shown
        assert key["value"] not in listed.text
        assert shown["redacted_value"] == f"sk-svcacct-...{key['value'][-4:]}"
        assert shown["owner"]["type"] == "service_account"
        assert shown["owner"]["service_account"]["id"] == key["account"]
        assert shown["last_used_at"] is None

    async def test_say_when_they_were_used(self, app: App, admin: httpx.AsyncClient, sv: Services) -> None:
        key = await create_key(admin, "p")
        async with client_of(app, key["value"]) as client:
            await client.get("/v1/models")
        await sv.keys.save_last_used(sv.database)
        shown = (await admin.get(f"{PROJECTS}/{key['project_id']}/api_keys/{key['id']}")).json()
        assert shown["last_used_at"] >= shown["created_at"]

    async def test_a_revoked_one_is_refused_at_once(self, app: App, admin: httpx.AsyncClient) -> None:
        key, other = await create_key(admin, "p"), await create_key(admin, "q")
        url = f"{PROJECTS}/{key['project_id']}/api_keys/{key['id']}"
        deleted = (await admin.delete(url)).json()
        conforms("ProjectApiKeyDeleteResponse", deleted)
        assert deleted["id"] == key["id"]
        async with client_of(app, key["value"]) as client:
            body = {"model": "echo", "messages": []}
            for answer in (await client.get("/v1/models"), await client.post("/v1/chat/completions", json=body)):
                error_in(answer, 401)
        async with client_of(app, other["value"]) as client:
            assert (await client.get("/v1/models")).status_code == 200
        for method in ("GET", "DELETE"):
            assert error_in(await admin.request(method, url), 404)["param"] == "key_id"

    async def test_an_expired_one_is_refused(self, app: App, admin: httpx.AsyncClient, sv: Services) -> None:
        key = await create_key(admin, "p")
        async with sv.database.session() as session:
            await session.execute(update(ApiKeyRow).where(ApiKeyRow.id == key["id"]).values(expires_at=from_unix(1)))
            await sv.keys.load(session)
        async with client_of(app, key["value"]) as client:
            error_in(await client.get("/v1/models"), 401)

    async def test_of_another_project_is_404(self, admin: httpx.AsyncClient) -> None:
        key, other = await create_key(admin, "p"), await create_key(admin, "q")
        for method in ("GET", "DELETE"):
            error_in(await admin.request(method, f"{PROJECTS}/{other['project_id']}/api_keys/{key['id']}"), 404)

    async def test_an_admin_key_is_in_no_project(self, admin: httpx.AsyncClient) -> None:
        key = await create_key(admin, "p")
        listed = (await admin.get(f"{PROJECTS}/{key['project_id']}/api_keys")).json()["data"]
        assert [each["id"] for each in listed] == [key["id"]]
