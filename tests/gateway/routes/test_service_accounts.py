"""/v1/organization/projects/{project}/service_accounts"""

import httpx
import pytest

from gateway.app import App
from gateway.services import Services
from tests.conftest import create_key
from tests.contract import conforms
from tests.gateway.routes.test_projects import PROJECTS, audited, calls, made
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio


class TestServiceAccounts:
    async def test_are_renamed_and_get_another_role(self, admin: httpx.AsyncClient) -> None:
        url = f"{PROJECTS}/{(await made(admin))['id']}/service_accounts"
        account = (await admin.post(url, json={"name": "app"})).json()
        assert account["role"] == "member"
        changed = (await admin.post(f"{url}/{account['id']}", json={"name": "bot", "role": "owner"})).json()
        conforms("ProjectServiceAccount", changed)
        assert (changed["name"], changed["role"]) == ("bot", "owner")
        assert (await admin.post(f"{url}/{account['id']}", json={})).json() == changed
        for body, param in (({"role": "none"}, "role"), ({"name": ""}, "name"), ({"colour": "red"}, "colour")):
            assert error_in(await admin.post(f"{url}/{account['id']}", json=body), 400)["param"] == param

    async def test_give_their_first_key_rights(self, app: App, admin: httpx.AsyncClient) -> None:
        project = await made(admin)
        url = f"{PROJECTS}/{project['id']}"
        rights = {"expires_in_seconds": 60, "scopes": ["api.files.read"], "allowed_models": ["m"], "tags": ["a"]}
        account = (await admin.post(f"{url}/service_accounts", json={"name": "app"} | rights)).json()
        assert account["api_key"]["expires_at"] == pytest.approx(account["created_at"] + 60, abs=2)
        key = (await admin.get(f"{url}/api_keys/{account['api_key']['id']}")).json()
        assert (key["scopes"], key["allowed_models"], key["tags"]) == (["api.files.read"], ["m"], ["a"])
        assert await calls(app, account["api_key"]["value"]) == 403

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
        conforms("ProjectServiceAccountCreateResponse", account)
        assert (account["api_key"], account["role"]) == (None, "none")

    async def test_rights_without_a_key_are_a_mistake(self, admin: httpx.AsyncClient) -> None:
        url = f"{PROJECTS}/{(await made(admin))['id']}/service_accounts"
        body = {"name": "app", "create_service_account_only": True}
        error = error_in(await admin.post(url, json=body | {"expires_in_seconds": 60}), 400)
        assert error["param"] == "create_service_account_only"
        assert (await admin.post(url, json=body | {"expires_in_seconds": None})).status_code == 200

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

    async def test_changes_are_audited(self, admin: httpx.AsyncClient, sv: Services) -> None:
        project = await made(admin)
        url = f"{PROJECTS}/{project['id']}/service_accounts"
        account = (await admin.post(url, json={"name": "app"})).json()
        await admin.post(f"{url}/{account['id']}", json={"role": "owner"})
        await admin.delete(f"{url}/{account['id']}")
        assert (await audited(sv))[1:] == [
            ("service_account.created", {"data": {"role": "member"}}),
            ("api_key.created", {"data": {"scopes": [], "name": "app"}}),
            ("service_account.updated", {"changes_requested": {"role": "owner"}}),
            ("service_account.deleted", {}),
        ]
