"""Roles: every administrator's URL, called by every role, against the table."""

import inspect
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import httpx
import pytest
from litestar.handlers import HTTPRouteHandler

from gateway.access.administrator import Administrator
from gateway.access.roles import TABLE, Need, need_of, require
from gateway.app import App
from gateway.errors import Forbidden
from gateway.protocol.audit_logs import Actor
from gateway.routes.urls import ROUTES
from gateway.services import Services
from tests.conftest import client_of, create_key
from tests.gateway.people import add, browser, join, sign_in
from tests.gateway.routes.test_users import give_key
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio

ACTOR = Actor(id="x", email=None, shown={})
NEEDS: dict[str, set[Need]] = {
    "owner": {*Need},
    "reader": {Need.READER, Need.PROJECT_READER, Need.PERSON},
    "owner of the project": {Need.READER, Need.PROJECT_READER, Need.PROJECT_OWNER, Need.PERSON},
    "member of the project": {Need.READER, Need.PROJECT_READER, Need.PERSON},
    "owner of another project": {Need.READER, Need.PROJECT_READER, Need.PERSON},
    "owner's key": {*Need} - {Need.PERSON},
    "reader's key": {Need.READER, Need.PROJECT_READER},
}
"""Who has what."""


def urls() -> Iterator[tuple[str, str]]:
    """Method and URL of every route that takes an administrator."""
    for handler in ROUTES:
        assert isinstance(handler, HTTPRouteHandler)
        if "admin" in inspect.signature(handler.fn).parameters:
            for path in handler.paths:
                yield from ((method, path) for method in handler.http_methods if method not in ("HEAD", "OPTIONS"))


URLS = sorted(urls())


@pytest.fixture
async def project_id(admin: httpx.AsyncClient) -> str:
    return (await create_key(admin, "walked"))["project_id"]


@pytest.fixture
async def everybody(
    app: App, sv: Services, admin: httpx.AsyncClient, project_id: str
) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    """One of each role."""
    other = (await create_key(admin, "other"))["project_id"]
    ids: dict[str, str] = {}
    for number, role in enumerate(NEEDS):
        person = await add(admin, f"{number}@example.com", "owner" if role in ("owner", "owner's key") else "reader")
        ids[role] = person["id"]
    await join(admin, project_id, ids["owner of the project"], "owner")
    await join(admin, project_id, ids["member of the project"], "member")
    await join(admin, other, ids["owner of another project"], "owner")
    for role in ("owner's key", "reader's key"):
        await give_key(sv, ids[role], f"sk-admin-{role}")
    async with AsyncExitStack() as stack:
        clients: dict[str, httpx.AsyncClient] = {}
        for number, role in enumerate(NEEDS):
            keyed = role.endswith("key")
            clients[role] = client_of(app, f"sk-admin-{role}") if keyed else browser(app)
            await stack.enter_async_context(clients[role])
            if not keyed:
                await sign_in(clients[role], f"{number}@example.com")
        yield clients


class TestTheTable:
    def test_names_every_url_for_administrators(self) -> None:
        unnamed = [each for each in URLS if (each[0], re.sub(r"\{[^}]*\}", "{}", each[1])) not in TABLE]
        assert not unnamed, "add these to gateway/access/roles.py; until then, only owners may call them"

    def test_what_it_does_not_name_is_for_owners(self) -> None:
        assert need_of("GET", "/v1/organization/something_new") is Need.OWNER
        assert need_of("PUT", "/v1/organization/projects") is Need.OWNER

    def test_parameters_may_have_any_name(self) -> None:
        assert need_of("GET", "/v1/organization/projects/{x:str}/users/{y:int}") is Need.PROJECT_READER
        assert need_of("HEAD", "/v1/organization/projects") is Need.READER

    def test_changes_take_an_owner(self) -> None:
        readers = {Need.READER, Need.PROJECT_READER}
        assert not [each for each, need in TABLE.items() if each[0] != "GET" and need in readers]

    def test_a_projects_owner_changes_nothing_outside_of_a_project(self) -> None:
        below = "/v1/organization/projects/{}"
        outside = [each for each, need in TABLE.items() if need is Need.PROJECT_OWNER and not each[1].startswith(below)]
        assert not outside
        assert TABLE["POST", f"{below}/archive"] is Need.OWNER


class TestEveryUrl:
    async def test_is_answered_to_who_has_what_it_takes_and_to_nobody_else(
        self, everybody: dict[str, httpx.AsyncClient], project_id: str
    ) -> None:
        wrong: list[tuple[str, str, str, int]] = []
        for method, url in URLS:
            if url in ("/v1/sessions/current", "/v1/organization/projects/{project_id:str}/archive"):
                continue  # they would end what is walked with; test_sessions.py and TestOneCall have them
            need = TABLE[method, re.sub(r"\{[^}]*\}", "{}", url)]
            filled = re.sub(r"\{[^}]*\}", "x", url.replace("{project_id:str}", project_id))
            for role, client in everybody.items():
                status = (await client.request(method, filled, content=b"{}")).status_code
                if (status == 403) is (need in NEEDS[role]) or status >= 500:
                    wrong.append((role, method, url, status))
        assert not wrong


class TestOneCall:
    async def test_says_what_is_missing(self, everybody: dict[str, httpx.AsyncClient], project_id: str) -> None:
        url = f"/v1/organization/projects/{project_id}/archive"
        for role in ("reader", "owner of the project", "reader's key"):
            message = error_in(await everybody[role].post(url), 403)["message"]
            assert "an owner of the organization" in message
            assert "reader" in message

    @pytest.mark.parametrize(
        ("roles", "need", "allowed"),
        [
            ({}, Need.PROJECT_OWNER, False),
            ({"p": "member"}, Need.PROJECT_OWNER, False),
            ({"p": "owner"}, Need.PROJECT_OWNER, True),
            ({"q": "owner"}, Need.PROJECT_OWNER, False),
            ({"p": "owner"}, Need.OWNER, False),
            ({"p": "owner"}, Need.PERSON, False),
        ],
    )
    def test_takes_the_role_in_that_project(self, roles: dict[str, str], need: Need, allowed: bool) -> None:
        admin = Administrator(id="x", name="x", role="reader", actor=ACTOR, project_roles=roles)  # type: ignore[arg-type]
        if allowed:
            require(admin, need, {"project_id": "p"})
        else:
            with pytest.raises(Forbidden):
                require(admin, need, {"project_id": "p"})

    def test_without_a_project_no_role_in_one_counts(self) -> None:
        admin = Administrator(id="x", name="x", role="reader", actor=ACTOR, project_roles={"": "owner"})
        with pytest.raises(Forbidden):
            require(admin, Need.OWNER, {})
