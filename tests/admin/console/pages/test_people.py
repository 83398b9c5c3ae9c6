"""People, invitations, members of projects."""

import re
from typing import Any

import httpx
import pytest

from gateway.app import App
from tests.admin.console.browsers import EMAIL, Browser, text_of
from tests.gateway.people import PASSWORD, USERS, add, join

pytestmark = pytest.mark.anyio
PEOPLE = "/console/people"
BEN = "ben@example.com"


def link_of(page: str) -> str:
    [url] = re.findall(r'data-copy="([^"]+)"', page)
    return url


async def person(admin: httpx.AsyncClient, email: str) -> Any:
    found = (await admin.get(USERS, params={"emails[]": email})).json()["data"]
    return found[0] if found else None


class TestInvitations:
    async def test_the_link_is_shown_once_and_makes_a_person_who_is_signed_in(
        self, app: App, owner: Browser, admin: httpx.AsyncClient, project_id: str
    ) -> None:
        fields = {"email": BEN, "role": "reader", "project": project_id, "project_role": "owner"}
        answer = await owner.client.post(f"{PEOPLE}/invitations", data=fields | {"_csrf": await csrf(owner)})
        assert answer.headers["cache-control"] == "no-store"
        link = link_of(answer.text)
        assert link.partition("#token=")[2] not in await owner.open(PEOPLE)
        async with Browser.of(app) as browser:
            assert "<h1>You are invited</h1>" in await browser.open(link.partition("#")[0])
            fields = {"token": link, "name": "Ben", "password": PASSWORD, "again": PASSWORD}
            assert "<h1>Overview</h1>" in await browser.send("/console/accept-invite", **fields)
        made = await person(admin, BEN)
        assert made is not None
        assert (made["name"], made["role"]) == ("Ben", "reader")
        assert [(each["id"], each["role"]) for each in made["projects"]["data"]] == [(project_id, "owner")]
        assert "Invitations" not in text_of(await owner.open(PEOPLE))

    async def test_withdrawn_the_link_does_nothing(self, app: App, owner: Browser) -> None:
        link = link_of(await owner.send(f"{PEOPLE}/invitations", email=BEN, role="reader"))
        [url] = re.findall(rf'action="({PEOPLE}/invitations/[^"]+/withdraw)"', await owner.open(PEOPLE))
        await owner.send(url)
        async with Browser.of(app) as browser:
            fields = {"token": link, "name": "Ben", "password": PASSWORD, "again": PASSWORD}
            page = await browser.send("/console/accept-invite", 400, **fields)
        assert "This invitation is not valid" in text_of(page)

    @pytest.mark.parametrize(
        ("field", "fields"),
        [
            ("again", {"password": PASSWORD, "again": "another"}),
            ("password", {"password": "short", "again": "short"}),
        ],
    )
    async def test_what_is_wrong_with_the_password_is_said_beside_it_and_the_token_stays(
        self, app: App, owner: Browser, field: str, fields: dict[str, str]
    ) -> None:
        link = link_of(await owner.send(f"{PEOPLE}/invitations", email=BEN, role="reader"))
        async with Browser.of(app) as browser:
            page = await browser.send("/console/accept-invite", 400, token=link, name="Ben", **fields)
        assert re.findall(r'id="f-(\w+)"[^>]*aria-invalid="true"', page) == [field]
        assert f'value="{link.partition("#token=")[2]}"' in page
        assert PASSWORD not in page

    async def test_an_email_that_is_taken_is_said_beside_its_field(self, owner: Browser) -> None:
        page = await owner.send(f"{PEOPLE}/invitations", 400, email=EMAIL, role="reader")
        assert re.findall(r'id="f-(\w+)"[^>]*aria-invalid="true"', page) == ["email"]


class TestOnePerson:
    async def test_name_and_role(self, owner: Browser, admin: httpx.AsyncClient) -> None:
        ben = await add(admin, BEN)
        url = f"{PEOPLE}/{ben['id']}"
        assert "The person is changed" in text_of(await owner.send(url, name="Benjamin", role="owner"))
        changed = await person(admin, BEN)
        assert changed is not None
        assert (changed["name"], changed["role"]) == ("Benjamin", "owner")
        assert "sessions are over" not in text_of(await owner.send(url, name="Ben", role="owner"))

    async def test_the_new_password_is_shown_once_and_signs_in(
        self, app: App, owner: Browser, admin: httpx.AsyncClient
    ) -> None:
        ben = await add(admin, BEN)
        password = link_of(await owner.send(f"{PEOPLE}/{ben['id']}/password"))
        async with Browser.of(app) as browser:
            assert "<h1>Overview</h1>" in await browser.sign_in(BEN, password)

    async def test_removed_the_session_is_over(self, app: App, owner: Browser, admin: httpx.AsyncClient) -> None:
        ben = await add(admin, BEN)
        async with Browser.of(app) as browser:
            await browser.sign_in(BEN)
            assert "The person is removed" in text_of(await owner.send(f"{PEOPLE}/{ben['id']}/remove"))
            assert "<h1>Sign in</h1>" in await browser.open(PEOPLE)

    @pytest.mark.parametrize(("what", "fields"), [("", {"name": "Ada", "role": "reader"}), ("/remove", {})])
    async def test_the_last_owner_stays(
        self, owner: Browser, admin: httpx.AsyncClient, what: str, fields: dict[str, str]
    ) -> None:
        ada = await person(admin, EMAIL)
        assert ada is not None
        page = await owner.send(f"{PEOPLE}/{ada['id']}{what}", 400, **fields)
        assert "is the last owner of the organization. Make somebody else an owner first." in text_of(page)
        assert await person(admin, EMAIL) == ada

    async def test_joins_a_project(self, owner: Browser, admin: httpx.AsyncClient, project_id: str) -> None:
        ben = await add(admin, BEN)
        page = await owner.send(f"{PEOPLE}/{ben['id']}/projects", project=project_id, project_role="member")
        assert f"/console/projects/{project_id}/people" in page


class TestReaders:
    async def test_have_nothing_to_press(
        self, app: App, owner: Browser, admin: httpx.AsyncClient, project_id: str
    ) -> None:
        ben = await add(admin, BEN)
        await join(admin, project_id, ben["id"], "member")
        await owner.send(f"{PEOPLE}/invitations", email="eve@example.com", role="reader")
        async with Browser.of(app) as browser:
            await browser.sign_in(BEN)
            for url in (PEOPLE, f"{PEOPLE}/{ben['id']}", f"/console/projects/{project_id}/people"):
                page = await browser.open(url)
                assert set(re.findall(r'<form method="post" action="([^"]+)"', page)) == {"/console/sign-out"}
            await browser.send(f"{PEOPLE}/{ben['id']}/remove", 403)
            await browser.send(f"{PEOPLE}/invitations", 403, email="x@example.com", role="owner")


class TestMembers:
    async def test_come_change_and_go(self, owner: Browser, admin: httpx.AsyncClient, project_id: str) -> None:
        ben, url = await add(admin, BEN, name="Ben"), f"/console/projects/{project_id}/people"
        assert "Nobody belongs to this project yet" in text_of(await owner.open(url))
        assert "belongs to the project now" in text_of(await owner.send(url, email=BEN, role="member"))
        assert "Make member" in text_of(await owner.send(f"{url}/{ben['id']}/role", role="owner"))
        assert "has left the project" in text_of(await owner.send(f"{url}/{ben['id']}/remove"))
        assert BEN not in text_of(await owner.open(url))

    async def test_owners_of_the_project_change_it(
        self, app: App, owner: Browser, admin: httpx.AsyncClient, project_id: str
    ) -> None:
        ben, url = await add(admin, BEN), f"/console/projects/{project_id}/people"
        await join(admin, project_id, ben["id"], "owner")
        async with Browser.of(app) as browser:
            await browser.sign_in(BEN)
            assert "belongs to the project now" in text_of(await browser.send(url, email=EMAIL, role="member"))

    async def test_who_is_not_there_is_said_beside_the_field(self, owner: Browser, project_id: str) -> None:
        page = await owner.send(f"/console/projects/{project_id}/people", 404, email="x@example.com", role="member")
        assert re.findall(r'id="f-(\w+)"[^>]*aria-invalid="true"', page) == ["email"]
        assert "invite them first" in text_of(page)


class TestManyPeople:
    async def test_are_pages_and_one_is_found(self, owner: Browser, admin: httpx.AsyncClient) -> None:
        await add(admin, BEN)
        text = text_of(await owner.open(f"{PEOPLE}?address={BEN}"))
        assert BEN in text
        assert EMAIL not in text
        assert "Nobody here" in text_of(await owner.open(f"{PEOPLE}?address=nobody@example.com"))


async def csrf(browser: Browser) -> str:
    return (await browser.client.get("/v1/sessions/current")).json()["csrf_token"]
