"""/v1/organization/projects"""

from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import select

from gateway.app import App
from gateway.db.tables import AuditLogRow
from gateway.services import Services
from gateway.settings import Settings, TierSettings
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


class TestArchived:
    async def test_one_cannot_be_changed(self, admin: httpx.AsyncClient) -> None:
        key = await create_key(admin, "p")
        url = f"{PROJECTS}/{key['project_id']}"
        await admin.post(f"{url}/archive")
        models = {"mode": "deny_list", "model_ids": []}
        changes: list[tuple[str, str, dict[str, Any]]] = [
            ("POST", "", {"name": "new"}),
            ("POST", "/api_keys", {}),
            ("POST", f"/api_keys/{key['id']}", {"tags": []}),
            ("POST", f"/api_keys/{key['id']}/rotate", {}),
            ("POST", "/service_accounts", {"name": "n"}),
            ("POST", f"/service_accounts/{key['account']}", {"name": "n"}),
            ("POST", f"/service_accounts/{key['account']}/api_keys", {}),
            ("POST", "/working_keys", {"purpose": "judge"}),
            ("POST", "/model_permissions", models),
            ("DELETE", "/model_permissions", {}),
        ]
        for method, path, body in changes:
            error = error_in(await admin.request(method, url + path, json=body), 400)
            assert (error["param"], "is archived" in error["message"]) == ("project_id", True), path
        assert (await admin.get(url)).json()["name"] == "p"


class TestResidency:
    @pytest.mark.parametrize("name", ["residency", "geography", "external_key_id"])
    async def test_is_the_operators_choice(self, admin: httpx.AsyncClient, name: str) -> None:
        error = error_in(await admin.post(PROJECTS, json={"name": "p", name: "EU_STORAGE_PROCESSING"}), 400)
        assert (error["param"], "Leave it out" in error["message"]) == (name, True)
        assert (await admin.post(PROJECTS, json={"name": "p", name: None})).status_code == 200

    async def test_nor_is_it_changed_later(self, admin: httpx.AsyncClient) -> None:
        url = f"{PROJECTS}/{(await made(admin))['id']}"
        assert error_in(await admin.post(url, json={"geography": "EU"}), 400)["param"] == "geography"


class TestModelPermissions:
    async def test_are_set_shown_and_taken_back(self, admin: httpx.AsyncClient) -> None:
        url = f"{PROJECTS}/{(await made(admin))['id']}/model_permissions"
        error_in(await admin.get(url), 404)
        wanted = {"mode": "allow_list", "model_ids": ["b", "a", "b", "ft:a:*"]}
        permissions = (await admin.post(url, json=wanted)).json()
        conforms("ProjectModelPermissions", permissions)
        assert permissions["model_ids"] == ["b", "a", "ft:a:*"]
        assert (await admin.get(url)).json() == permissions
        for deleted in (True, False):
            answer = (await admin.delete(url)).json()
            conforms("ProjectModelPermissionsDeleteResponse", answer)
            assert answer["deleted"] is deleted
        error_in(await admin.get(url), 404)

    @pytest.mark.parametrize(
        ("body", "param"),
        [
            ({"mode": "allow_list"}, "model_ids"),
            ({"mode": "some", "model_ids": []}, "mode"),
            ({"mode": "allow_list", "model_ids": ["a*b"]}, "model_ids"),
            ({"mode": "allow_list", "model_ids": [""]}, "model_ids[0]"),
        ],
    )
    async def test_fields_are_checked(self, admin: httpx.AsyncClient, body: dict[str, Any], param: str) -> None:
        url = f"{PROJECTS}/{(await made(admin))['id']}/model_permissions"
        assert error_in(await admin.post(url, json=body), 400)["param"] == param


class TestTier:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return msgspec.structs.replace(settings, tiers=(TierSettings(name="free"),))

    async def test_is_one_of_the_settings(self, admin: httpx.AsyncClient) -> None:
        project = (await admin.post(PROJECTS, json={"name": "p", "tier": "free"})).json()
        url = f"{PROJECTS}/{project['id']}"
        assert project["tier"] == "free"
        error = error_in(await admin.post(url, json={"tier": "gold"}), 400)
        assert (error["param"], "The settings have: free." in error["message"]) == ("tier", True)
        assert (await admin.post(url, json={"name": "q"})).json()["tier"] == "free"
        assert (await admin.post(url, json={"tier": None})).json()["tier"] is None


class TestAudit:
    async def test_tells_of_every_change(self, admin: httpx.AsyncClient, sv: Services) -> None:
        project = await made(admin)
        url = f"{PROJECTS}/{project['id']}"
        await admin.post(url, json={"name": "q"})
        await admin.post(f"{url}/model_permissions", json={"mode": "deny_list", "model_ids": ["m"]})
        await admin.delete(f"{url}/model_permissions")
        for _ in range(2):
            await admin.post(f"{url}/archive")
        assert await audited(sv) == [
            ("project.created", {"data": {"name": "p", "title": "p"}}),
            ("project.updated", {"changes_requested": {"title": "q"}}),
            (
                "project.updated",
                {"changes_requested": {"model_permissions": {"mode": "deny_list", "model_ids": ["m"]}}},
            ),
            ("project.updated", {"changes_requested": {"model_permissions": None}}),
            ("project.archived", {}),
        ]


async def audited(sv: Services) -> list[tuple[str, dict[str, Any]]]:
    """Type and detail of every entry."""
    async with sv.database.session() as session:
        rows = await session.scalars(select(AuditLogRow).order_by(AuditLogRow.effective_at))
        return [(row.type, row.detail) for row in rows]
