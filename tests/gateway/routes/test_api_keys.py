"""/v1/organization/projects/{project}/api_keys"""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from gateway.app import App
from gateway.db.tables import ApiKeyRow, ConsoleKeyRow, UserRow
from gateway.keys.service import create_admin_key, create_user_key
from gateway.kit.clock import from_unix, now
from gateway.services import Services
from tests.conftest import client_of, create_key
from tests.contract import conforms
from tests.gateway.people import add, browser, sign_in
from tests.gateway.routes.test_projects import audited
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
        async with sv.database.raw() as connection:
            await sv.keys.load(connection)
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


async def made(admin: httpx.AsyncClient, **fields: Any) -> tuple[dict[str, Any], str]:
    """A key of a new project, and its URL."""
    project = (await admin.post(PROJECTS, json={"name": "p"})).json()
    url = f"{PROJECTS}/{project['id']}/api_keys"
    answer = await admin.post(url, json=fields)
    assert answer.status_code == 200, answer.text
    return answer.json(), f"{url}/{answer.json()['id']}"


async def works(app: App, secret: str) -> bool:
    async with client_of(app, secret) as client:
        return (await client.get("/v1/models")).status_code == 200


class TestCreate:
    async def test_shows_the_secret_once(self, app: App, admin: httpx.AsyncClient) -> None:
        key, url = await made(admin, name="app")
        conforms("ProjectApiKey", key)
        secret = key.pop("value")
        assert secret.startswith("sk-svcacct-")
        assert await works(app, secret)
        assert (await admin.get(url)).json() == key
        assert (key["name"], key["owner"]["service_account"]["name"]) == ("app", "app")

    async def test_gives_rights(self, admin: httpx.AsyncClient) -> None:
        rights = {
            "allowed_models": ["echo", "ft:x:*"], "scopes": ["model.request"], "logging": "metadata",
            "tags": ["a", "b", "a"], "expires_in_seconds": 60,
        }  # fmt: skip
        key, url = await made(admin, **rights)
        shown = (await admin.get(url)).json()
        assert {name: shown[name] for name in rights if name in shown} == {
            "allowed_models": ["echo", "ft:x:*"], "scopes": ["model.request"], "logging": "metadata", "tags": ["a", "b"],
        }  # fmt: skip
        assert shown["expires_at"] == pytest.approx(key["created_at"] + 60, abs=2)

    async def test_belongs_to_the_person_who_asks(
        self, app: App, admin: httpx.AsyncClient, sv: Services, project_key: dict[str, Any]
    ) -> None:
        """An admin key that a person made speaks for them."""
        async with sv.database.session() as session:
            session.add(UserRow(id="user-1", email="a@b.c", name="Ada", role="owner", added_at=from_unix(1)))
            await session.flush()
            _, secret = await create_admin_key(
                session, name="n", secret_key="k" * 40, role="owner", user_id="user-1", lifetime=None
            )
        await sv.mirrors.refresh()
        async with client_of(app, secret) as ada:
            url = f"{PROJECTS}/{project_key['project_id']}/api_keys"
            key = (await ada.post(url, json={"name": "mine"})).json()
        conforms("ProjectApiKey", key)
        assert key["value"].startswith("sk-proj-")
        assert await works(app, key["value"])
        ada_shown = {"id": "user-1", "email": "a@b.c", "name": "Ada", "created_at": 1, "role": "owner"}
        assert key["owner"] == {"type": "user", "user": ada_shown}

    @pytest.mark.parametrize(
        ("body", "param"),
        [
            ({"scopes": ["nonsense"]}, "scopes"),
            ({"allowed_models": []}, "allowed_models"),
            ({"allowed_models": ["a*b"]}, "allowed_models"),
            ({"allowed_models": "echo"}, "allowed_models"),
            ({"logging": "some"}, "logging"),
            ({"tags": [""]}, "tags[0]"),
            ({"tags": ["a"] * 33}, "tags"),
            ({"expires_in_seconds": 0}, "expires_in_seconds"),
            ({"expires_in_seconds": 1.5}, "expires_in_seconds"),
            ({"tier": "gold"}, "tier"),
            ({"budget": 5}, "budget"),
        ],
    )
    async def test_fields_are_checked(self, admin: httpx.AsyncClient, body: dict[str, Any], param: str) -> None:
        project = (await admin.post(PROJECTS, json={"name": "p"})).json()
        url = f"{PROJECTS}/{project['id']}/api_keys"
        assert error_in(await admin.post(url, json=body), 400)["param"] == param
        assert (await admin.get(url)).json()["data"] == []
        accounts = (await admin.get(f"{PROJECTS}/{project['id']}/service_accounts")).json()
        assert accounts["data"] == []


class TestList:
    async def test_by_tags(self, admin: httpx.AsyncClient) -> None:
        first, url = await made(admin, tags=["a", "b"])
        url = url.rsplit("/", 1)[0]
        second = (await admin.post(url, json={"tags": ["a"]})).json()

        async def found(*tags: str) -> list[str]:
            page = await admin.get(url, params={"tags[]": list(tags)})
            return [each["id"] for each in page.json()["data"]]

        assert await found("a") == [first["id"], second["id"]]
        assert await found("a", "b") == [first["id"]]
        assert await found("c") == []

    async def test_by_whether_the_owner_has_access(self, app: App, admin: httpx.AsyncClient, sv: Services) -> None:
        kept, url = await made(admin)
        url = url.rsplit("/", 1)[0]
        async with sv.database.session() as session:
            session.add(UserRow(id="user-1", email="a@b.c", name="Ada", role="reader", added_at=from_unix(1)))
            await session.flush()
            row, secret = await create_user_key(session, url.split("/")[4], "user-1", name="gone", secret_key="k" * 40)
        await sv.mirrors.refresh()

        async def found(access: str | None) -> dict[str, str]:
            page = await admin.get(url, params={"owner_project_access": access} if access else {})
            conforms("ProjectApiKeyListResponse", page.json())
            return {each["id"]: each["owner_project_access"] for each in page.json()["data"]}

        assert await found("active") == {kept["id"]: "active"}
        assert await found("inactive") == {row.id: "inactive"}
        assert await found("any") == await found(None) == {kept["id"]: "active", row.id: "inactive"}
        assert not await works(app, secret)
        assert error_in(await admin.get(url, params={"owner_project_access": "x"}), 400)["param"] == (
            "owner_project_access"
        )


class TestUpdate:
    async def test_changes_what_is_given_and_nothing_else(self, app: App, admin: httpx.AsyncClient) -> None:
        key, url = await made(admin, tags=["a"], scopes=["model.request"], expires_in_seconds=60)
        secret = key.pop("value")
        changed = (await admin.post(url, json={"name": "new", "logging": "off"})).json()
        assert changed == key | {"name": "new", "logging": "off"}
        assert not await works(app, secret)
        cleared = (await admin.post(url, json={"scopes": [], "tags": [], "expires_in_seconds": None})).json()
        assert cleared == changed | {"scopes": None, "tags": [], "expires_at": None}
        assert await works(app, secret)

    async def test_an_expired_one_stays_so(self, admin: httpx.AsyncClient, sv: Services) -> None:
        key, url = await made(admin)
        async with sv.database.session() as session:
            (await session.get_one(ApiKeyRow, key["id"])).expires_at = from_unix(1)
        for path in (url, f"{url}/rotate"):
            assert "has expired" in error_in(await admin.post(path, json={}), 400)["message"]
        assert (await admin.delete(url)).status_code == 200

    async def test_fields_are_checked(self, admin: httpx.AsyncClient) -> None:
        _, url = await made(admin)
        for body, param in (({"name": ""}, "name"), ({"scopes": ["x"]}, "scopes"), ({"value": "x"}, "value")):
            assert error_in(await admin.post(url, json=body), 400)["param"] == param


class TestRotate:
    async def test_a_persons_own_by_that_person_alone(self, app: App, admin: httpx.AsyncClient, sv: Services) -> None:
        """Whoever has its secret acts in their name: judges, reviews and spends."""
        key, url = await made(admin)
        people = {each: await add(admin, f"{each}@example.com", "owner") for each in ("ada", "eve")}
        async with sv.database.session() as session:
            row = await session.get_one(ApiKeyRow, key["id"])
            row.service_account_id, row.user_id = None, people["ada"]["id"]
        async with browser(app) as ada, browser(app) as eve:
            await sign_in(ada, "ada@example.com")
            await sign_in(eve, "eve@example.com")
            for other in (eve, admin):
                assert "only they can rotate it" in error_in(await other.post(f"{url}/rotate"), 403)["message"]
            assert (await ada.post(f"{url}/rotate")).status_code == 200
            assert (await eve.delete(url)).status_code == 200

    async def test_nobody_that_of_a_session(self, app: App, admin: httpx.AsyncClient, sv: Services) -> None:
        _, url = await made(admin)
        project = url.split("/")[4]
        await add(admin, "ada@example.com", "owner")
        async with browser(app) as ada:
            await sign_in(ada, "ada@example.com")
            assert (await ada.get("/v1/criteria", headers={"openai-project": project})).status_code == 200
            async with sv.database.session() as session:
                id = await session.scalar(select(ConsoleKeyRow.api_key_id))
            answer = await ada.post(f"{url.rsplit('/', 1)[0]}/{id}/rotate")
            assert "nobody has its secret" in error_in(answer, 403)["message"]

    async def test_keeps_the_key_and_both_secrets_for_the_overlap(self, app: App, admin: httpx.AsyncClient) -> None:
        key, url = await made(admin, tags=["a"], scopes=["api.model.read"], logging="off")
        new = (await admin.post(f"{url}/rotate", json={"overlap_seconds": 600})).json()
        assert new["old_value_expires_at"] == pytest.approx(now().timestamp() + 600, abs=30)
        assert new["redacted_value"] != key["redacted_value"]
        assert [await works(app, each["value"]) for each in (key, new)] == [True, True]
        changed = {"value", "redacted_value", "old_value_expires_at", "last_used_at"}
        same = [{name: each[name] for name in each if name not in changed} for each in (key, new)]
        assert same[0] == same[1]
        listed = (await admin.get(url.rsplit("/", 1)[0])).json()["data"]
        assert [each["id"] for each in listed] == [key["id"]]

    async def test_without_an_overlap_the_old_secret_ends_at_once(self, app: App, admin: httpx.AsyncClient) -> None:
        key, url = await made(admin)
        new = (await admin.post(f"{url}/rotate", json={"overlap_seconds": 0})).json()
        assert new["old_value_expires_at"] is None
        assert [await works(app, each["value"]) for each in (key, new)] == [False, True]

    async def test_a_day_is_the_usual_overlap(self, admin: httpx.AsyncClient) -> None:
        _, url = await made(admin)
        new = (await admin.post(f"{url}/rotate")).json()
        assert new["old_value_expires_at"] == pytest.approx(now().timestamp() + 86_400, abs=30)

    async def test_only_two_secrets_work_at_a_time(self, app: App, admin: httpx.AsyncClient) -> None:
        key, url = await made(admin)
        secrets = [key["value"], *[(await admin.post(f"{url}/rotate")).json()["value"] for _ in range(2)]]
        assert [await works(app, secret) for secret in secrets] == [False, True, True]

    async def test_revoking_ends_both(self, app: App, admin: httpx.AsyncClient) -> None:
        key, url = await made(admin)
        new = (await admin.post(f"{url}/rotate")).json()
        await admin.delete(url)
        assert [await works(app, each["value"]) for each in (key, new)] == [False, False]

    async def test_two_at_once_are_one_after_the_other(self, app: App, admin: httpx.AsyncClient) -> None:
        """Whichever was last: its secret and the one before it work."""
        key, url = await made(admin)
        answers = await asyncio.gather(*[admin.post(f"{url}/rotate") for _ in range(2)])
        secrets = [answer.json()["value"] for answer in answers]
        assert [await works(app, secret) for secret in secrets] == [True, True]
        assert not await works(app, key["value"])

    async def test_fields_are_checked(self, admin: httpx.AsyncClient) -> None:
        _, url = await made(admin)
        for value in (-1, 31_536_001, "1d"):
            answer = await admin.post(f"{url}/rotate", json={"overlap_seconds": value})
            assert error_in(answer, 400)["param"] == "overlap_seconds"


class TestAudit:
    async def test_tells_of_every_change_and_no_secret(self, admin: httpx.AsyncClient, sv: Services) -> None:
        key, url = await made(admin, name="app")
        await admin.post(url, json={"tags": ["a"], "expires_in_seconds": 60})
        new = (await admin.post(f"{url}/rotate", json={"overlap_seconds": 5})).json()
        await admin.delete(url)
        entries = await audited(sv)
        assert entries[1:] == [
            ("service_account.created", {"data": {"role": "member"}}),
            ("api_key.created", {"data": {"scopes": [], "name": "app"}}),
            ("api_key.updated", {"changes_requested": {"tags": ["a"], "expires_in_seconds": 60}}),
            ("api_key.updated", {"changes_requested": {"secret": "rotated", "overlap_seconds": 5}}),
            ("api_key.deleted", {}),
        ]
        assert not any(secret in str(entries) for secret in (key["value"], new["value"]))

    @pytest.mark.parametrize("everything", [None, []])
    async def test_scopes_are_a_list_as_in_openais_entries(
        self, admin: httpx.AsyncClient, sv: Services, everything: list[str] | None
    ) -> None:
        _, url = await made(admin)
        await admin.post(url, json={"scopes": everything})
        assert (await audited(sv))[-1] == ("api_key.updated", {"changes_requested": {"scopes": []}})

    async def test_a_refused_change_is_none(self, admin: httpx.AsyncClient, sv: Services) -> None:
        _, url = await made(admin)
        before = await audited(sv)
        error_in(await admin.post(url, json={"scopes": ["x"]}), 400)
        assert await audited(sv) == before
