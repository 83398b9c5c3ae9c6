"""/v1/organization/invites, and how one is accepted"""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from gateway.app import App
from gateway.db.tables import InviteRow
from gateway.kit.clock import now
from gateway.services import Services
from tests.contract import conforms
from tests.gateway.people import PASSWORD, USERS, add, audit, browser, sign_in
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio

INVITES = "/v1/organization/invites"
ACCEPT = "/v1/invites/accept"
EMAIL = "new@example.com"


async def invite(admin: httpx.AsyncClient, **more: Any) -> tuple[dict[str, Any], str]:
    """The invitation and its token."""
    answer = await admin.post(INVITES, json={"email": EMAIL, "role": "reader"} | more)
    assert answer.status_code == 200, answer.text
    made = answer.json()
    return made, made["invite_url"].partition("#token=")[2]


async def accept(app: App, token: str, password: str = PASSWORD) -> httpx.Response:
    async with browser(app) as client:
        return await client.post(ACCEPT, json={"token": token, "name": "New", "password": password})


async def expire(sv: Services) -> None:
    async with sv.database.session() as session:
        await session.execute(update(InviteRow).values(expires_at=now() - timedelta(seconds=1)))


class TestInvitations:
    async def test_have_openais_form_and_a_link_once(
        self, admin: httpx.AsyncClient, sv: Services, project_key: dict[str, Any]
    ) -> None:
        projects = [{"id": project_key["project_id"], "role": "member"}]
        made, token = await invite(admin, email="New@Example.com", projects=projects)
        conforms("Invite", made)
        assert made["invite_url"].startswith("http://gateway/accept-invite#token=")
        assert (made["email"], made["status"], made["projects"]) == (EMAIL, "pending", projects)
        assert made["expires_at"] - made["created_at"] == sv.settings.sign_in.invite_seconds
        shown = (await admin.get(f"{INVITES}/{made['id']}")).json()
        assert shown == {name: value for name, value in made.items() if name != "invite_url"}
        listed = (await admin.get(INVITES)).json()
        conforms("InviteListResponse", listed)
        assert listed["data"] == [shown]
        async with sv.database.session() as session:
            row = await session.scalar(select(InviteRow))
        assert row is not None
        assert token.encode() not in row.token_hash
        [entry] = await audit(admin, "invite.sent")
        assert entry["invite.sent"] == {"id": made["id"], "data": {"email": EMAIL, "role": "reader"}}

    @pytest.mark.parametrize(
        ("more", "param"),
        [
            ({"email": "nobody"}, "email"),
            ({"email": "taken@example.com"}, "email"),
            ({"role": "member"}, "role"),
            ({"projects": [{"id": "proj_x", "role": "member"}]}, "projects"),
            ({"projects": [{"id": "proj_x", "role": "reader"}]}, "projects[0].role"),
        ],
    )
    async def test_a_wrong_field_is_named(self, admin: httpx.AsyncClient, more: dict[str, Any], param: str) -> None:
        await add(admin, "taken@example.com")
        answer = await admin.post(INVITES, json={"email": EMAIL, "role": "reader"} | more)
        assert error_in(answer, 400)["param"] == param

    async def test_are_withdrawn(self, app: App, admin: httpx.AsyncClient) -> None:
        made, token = await invite(admin)
        deleted = (await admin.delete(f"{INVITES}/{made['id']}")).json()
        conforms("InviteDeleteResponse", deleted)
        error_in(await accept(app, token), 400)
        for answer in (await admin.get(f"{INVITES}/{made['id']}"), await admin.delete(f"{INVITES}/{made['id']}")):
            error_in(answer, 404)

    async def test_expire(self, app: App, sv: Services, admin: httpx.AsyncClient) -> None:
        made, token = await invite(admin)
        await expire(sv)
        assert (await admin.get(f"{INVITES}/{made['id']}")).json()["status"] == "expired"
        error_in(await accept(app, token), 400)


class TestAccepting:
    async def test_makes_a_person_in_their_projects(
        self, app: App, admin: httpx.AsyncClient, project_key: dict[str, Any]
    ) -> None:
        projects = [{"id": project_key["project_id"], "role": "owner"}]
        made, token = await invite(admin, projects=projects)
        person = (await accept(app, token)).json()
        conforms("User", person)
        assert (person["email"], person["name"], person["role"]) == (EMAIL, "New", "reader")
        assert [(each["id"], each["role"]) for each in person["projects"]["data"]] == [(projects[0]["id"], "owner")]
        shown = (await admin.get(f"{INVITES}/{made['id']}")).json()
        assert (shown["status"], shown["accepted_at"] is None) == ("accepted", False)
        async with browser(app) as client:
            await sign_in(client, EMAIL)
        [entry] = await audit(admin, "invite.accepted")
        assert entry["invite.accepted"]["id"] == made["id"]
        assert entry["actor"]["session"]["user"]["email"] == EMAIL

    async def test_works_once_though_two_try(self, app: App, admin: httpx.AsyncClient) -> None:
        _, token = await invite(admin)
        answers = await asyncio.gather(*(accept(app, token) for _ in range(3)))
        assert sorted(answer.status_code for answer in answers) == [200, 400, 400]
        error_in(await accept(app, token), 400)
        assert len((await admin.get(USERS)).json()["data"]) == 1

    async def test_two_invitations_make_one_person(self, app: App, admin: httpx.AsyncClient) -> None:
        tokens = [(await invite(admin))[1] for _ in range(2)]
        answers = await asyncio.gather(*(accept(app, token) for token in tokens))
        assert sorted(answer.status_code for answer in answers) == [200, 409]

    async def test_keeps_to_the_rules_and_may_be_tried_again(self, app: App, admin: httpx.AsyncClient) -> None:
        _, token = await invite(admin)
        assert error_in(await accept(app, token, "short"), 400)["param"] == "password"
        assert error_in(await accept(app, "wrong"), 400)["param"] == "token"
        assert (await accept(app, token)).status_code == 200

    async def test_one_that_was_accepted_is_not_withdrawn(self, app: App, admin: httpx.AsyncClient) -> None:
        made, token = await invite(admin)
        await accept(app, token)
        assert "accepted" in error_in(await admin.delete(f"{INVITES}/{made['id']}"), 400)["message"]

    async def test_a_wrong_token_costs_no_hash(self, app: App, sv: Services, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object) -> None:
            raise AssertionError

        monkeypatch.setattr(sv.passwords, "hash", refuse)
        assert error_in(await accept(app, "wrong"), 400)["param"] == "token"
