"""/v1/organization/users"""

import asyncio

import httpx
import pytest
from sqlalchemy import select

from gateway.app import App
from gateway.db.changes import touch
from gateway.db.tables import ApiKeyRow, UserRow
from gateway.keys.hashing import hash_secret
from gateway.kit.clock import now
from gateway.kit.ids import new_id
from gateway.services import Services
from tests.conftest import client_of
from tests.contract import conforms
from tests.gateway import people
from tests.gateway.people import USERS, add, audit, browser, join, sign_in
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio


async def give_key(sv: Services, user_id: str, secret: str, project_id: str | None = None) -> str:
    """A key that belongs to a person; for None an admin key that the person made."""
    row = ApiKeyRow(
        id=new_id("key_"),
        name="k",
        hash=hash_secret(secret, sv.settings.secret_key.reveal().encode()),
        redacted_value="sk-...",
        project_id=project_id,
        user_id=user_id,
        created_at=now(),
    )
    async with sv.database.session() as session:
        session.add(row)
        await touch(session, "api_keys")
    await sv.mirrors.catch_up()
    return row.id


async def status(app: App, secret: str, path: str) -> int:
    async with client_of(app, secret) as client:
        return (await client.get(path)).status_code


class TestPeople:
    async def test_have_openais_form(self, admin: httpx.AsyncClient) -> None:
        made = await add(admin, "Ada@Example.com", "owner", name="Ada")
        conforms("User", made)
        assert (made["email"], made["name"], made["role"]) == ("ada@example.com", "Ada", "owner")
        assert (made["has_password"], made["totp"], made["single_sign_on"]) == (True, False, False)
        assert "password" not in str(made).replace("has_password", "")
        assert (await admin.get(f"{USERS}/{made['id']}")).json() == made
        listed = (await admin.get(USERS)).json()
        conforms("UserListResponse", listed)
        assert listed["data"] == [made]

    async def test_are_paged_and_found_by_email(self, admin: httpx.AsyncClient) -> None:
        ids = [(await add(admin, f"p{number}@example.com"))["id"] for number in range(3)]
        first = (await admin.get(USERS, params={"limit": 2})).json()
        rest = (await admin.get(USERS, params={"limit": 2, "after": first["last_id"]})).json()
        assert [each["id"] for each in first["data"] + rest["data"]] == ids
        assert (first["has_more"], rest["has_more"]) == (True, False)
        asked = {"emails[]": ["P1@example.com", "nobody@example.com"]}
        assert [each["id"] for each in (await admin.get(USERS, params=asked)).json()["data"]] == [ids[1]]

    async def test_show_their_projects(self, admin: httpx.AsyncClient, project_key: dict[str, str]) -> None:
        made = await add(admin, "a@example.com")
        await join(admin, project_key["project_id"], made["id"], "owner")
        [project] = (await admin.get(f"{USERS}/{made['id']}")).json()["projects"]["data"]
        assert project == {"id": project_key["project_id"], "name": "first", "role": "owner"}

    @pytest.mark.parametrize(
        ("body", "param"),
        [
            ({"email": "nobody"}, "email"),
            ({"email": "a b@example.com"}, "email"),
            ({"email": "a@" + "x" * 300}, "email"),
            ({"email": "a@example.com", "role": "admin"}, "role"),
            ({"email": "a@example.com", "password": "short"}, "password"),
            ({"email": "a@example.com", "password": "x" * 1025}, "password"),
            ({"email": "long.enough@example.com", "password": "Long.Enough@example.com"}, "password"),
            ({"email": "a@example.com", "name": "n" * 201}, "name"),
        ],
    )
    async def test_a_wrong_field_is_named(self, admin: httpx.AsyncClient, body: dict[str, str], param: str) -> None:
        assert error_in(await admin.post(USERS, json=body), 400)["param"] == param

    async def test_an_email_is_taken_once(self, admin: httpx.AsyncClient) -> None:
        await add(admin, "a@example.com")
        body = {"email": "A@example.com"}
        assert error_in(await admin.post(USERS, json=body), 409)["param"] == "email"

    async def test_an_unknown_one_is_404(self, admin: httpx.AsyncClient) -> None:
        for answer in (
            await admin.get(f"{USERS}/user-x"),
            await admin.post(f"{USERS}/user-x", json={"role": "owner"}),
            await admin.delete(f"{USERS}/user-x"),
            await admin.post(f"{USERS}/user-x/password", json={"password": people.PASSWORD}),
            await admin.delete(f"{USERS}/user-x/totp"),
        ):
            assert error_in(answer, 404)["param"] == "user_id"


class TestTheLastOwner:
    async def test_stays(self, admin: httpx.AsyncClient) -> None:
        only = await add(admin, "only@example.com", "owner")
        for answer in (
            await admin.delete(f"{USERS}/{only['id']}"),
            await admin.post(f"{USERS}/{only['id']}", json={"role": "reader"}),
        ):
            assert "last owner" in error_in(answer, 400)["message"]
        await add(admin, "other@example.com", "owner")
        assert (await admin.delete(f"{USERS}/{only['id']}")).status_code == 200

    async def test_is_not_lost_when_two_leave_at_once(self, admin: httpx.AsyncClient, sv: Services) -> None:
        owners = [await add(admin, f"{number}@example.com", "owner") for number in range(4)]
        answers = await asyncio.gather(*(admin.delete(f"{USERS}/{owner['id']}") for owner in owners))
        assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 400]
        async with sv.database.session() as session:
            left = list(await session.scalars(select(UserRow).where(UserRow.deleted_at.is_(None))))
        assert [row.role for row in left] == ["owner"]


class TestARoleThatChanges:
    async def test_ends_the_sessions_and_what_their_admin_keys_may(
        self, app: App, sv: Services, admin: httpx.AsyncClient
    ) -> None:
        await add(admin, "stays@example.com", "owner")
        made = await add(admin, "a@example.com", "owner")
        await give_key(sv, made["id"], "sk-admin-of-a-person")
        async with browser(app) as client, client_of(app, "sk-admin-of-a-person") as keyed:
            await sign_in(client, "a@example.com")
            answer = await admin.post(f"{USERS}/{made['id']}", json={"role": "reader"})
            assert answer.json()["role"] == "reader"
            assert error_in(await client.get(USERS), 401)["code"] == "session_ended"
            assert (await keyed.get(USERS)).status_code == 200
            error_in(await keyed.post(USERS, json={"email": "b@example.com"}), 403)
        [entry] = await audit(admin, "user.updated")
        assert entry["user.updated"] == {"id": made["id"], "changes_requested": {"role": "reader"}}

    async def test_a_name_changes_alone(self, app: App, admin: httpx.AsyncClient) -> None:
        made = await add(admin, "a@example.com", "owner")
        async with browser(app) as client:
            await sign_in(client, "a@example.com")
            answer = await client.post(f"{USERS}/{made['id']}", json={"name": "Ada"})
            assert (answer.json()["name"], answer.json()["role"]) == ("Ada", "owner")
            assert (await client.get(USERS)).status_code == 200


class TestWhoIsDeleted:
    async def test_loses_sessions_and_keys_at_once(
        self, app: App, sv: Services, admin: httpx.AsyncClient, project_key: dict[str, str]
    ) -> None:
        made = await add(admin, "a@example.com")
        await join(admin, project_key["project_id"], made["id"], "member")
        key_id = await give_key(sv, made["id"], "sk-of-a-person", project_key["project_id"])
        admin_key_id = await give_key(sv, made["id"], "sk-admin-of-a-person")
        assert await status(app, "sk-of-a-person", "/v1/models") == 200
        assert await status(app, "sk-admin-of-a-person", USERS) == 200
        async with browser(app) as client:
            await sign_in(client, "a@example.com")
            deleted = (await admin.delete(f"{USERS}/{made['id']}")).json()
            conforms("UserDeleteResponse", deleted)
            error_in(await client.get(USERS), 401)
        assert await status(app, "sk-of-a-person", "/v1/models") == 401
        assert await status(app, "sk-admin-of-a-person", USERS) == 401
        revoked = {entry["api_key.deleted"]["id"] for entry in await audit(admin, "api_key.deleted")}
        assert revoked == {key_id, admin_key_id}
        [entry] = await audit(admin, "user.deleted")
        assert entry["user.deleted"]["id"] == made["id"]

    async def test_cannot_sign_in_and_may_come_back_as_somebody_new(self, app: App, admin: httpx.AsyncClient) -> None:
        made = await add(admin, "a@example.com")
        await admin.delete(f"{USERS}/{made['id']}")
        async with browser(app) as client:
            error_in(await people.try_sign_in(client, "a@example.com"), 401)
        assert (await add(admin, "a@example.com"))["id"] != made["id"]
        assert error_in(await admin.get(f"{USERS}/{made['id']}"), 404)


class TestAResetPassword:
    async def test_takes_the_place_of_the_old_one_and_ends_sessions(self, app: App, admin: httpx.AsyncClient) -> None:
        made = await add(admin, "a@example.com")
        async with browser(app) as client:
            await sign_in(client, "a@example.com")
            answer = await admin.post(f"{USERS}/{made['id']}/password", json={"password": "another long one"})
            assert answer.json()["has_password"] is True
            error_in(await client.get(USERS), 401)
            error_in(await people.try_sign_in(client, "a@example.com"), 401)
            await sign_in(client, "a@example.com", "another long one")
        [entry] = await audit(admin, "user.updated")
        assert entry["user.updated"]["changes_requested"] == {"password": "reset"}

    async def test_keeps_to_the_rules(self, admin: httpx.AsyncClient) -> None:
        made = await add(admin, "a@example.com")
        answer = await admin.post(f"{USERS}/{made['id']}/password", json={"password": "short"})
        assert error_in(answer, 400)["param"] == "password"
