"""Who is calling: an admin key and the person who made it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from sqlalchemy import event, update

from gateway.app import App
from gateway.db.tables import UserRow
from gateway.routes.people import touch_keys
from gateway.services import Services
from tests.conftest import client_of
from tests.gateway.people import add, audit
from tests.gateway.routes.test_users import give_key

pytestmark = pytest.mark.anyio

PROJECTS = "/v1/organization/projects"
SECRET = "sk-admin-of-a-person"


@contextmanager
def told(sv: Services) -> Iterator[list[str]]:
    """Every statement that the database is sent meanwhile."""
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    engine = sv.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", note)


async def actor_of_a_change(app: App, admin: httpx.AsyncClient) -> dict[str, Any]:
    """What the audit log says of who just made a project with the person's key."""
    async with client_of(app, SECRET) as keyed:
        assert (await keyed.post(PROJECTS, json={"name": "p"})).status_code == 200
    return (await audit(admin, "project.created"))[0]["actor"]


class TestAPersonsAdminKey:
    async def test_says_in_the_audit_log_whose_it_is(self, app: App, sv: Services, admin: httpx.AsyncClient) -> None:
        person = await add(admin, "a@example.com", "owner")
        key_id = await give_key(sv, person["id"], SECRET)
        actor = (await actor_of_a_change(app, admin))["api_key"]
        assert (actor["type"], actor["id"]) == ("user", key_id)
        assert actor["user"] == {"id": person["id"], "email": "a@example.com"}

    async def test_shows_another_email_once_it_has_changed(
        self, app: App, sv: Services, admin: httpx.AsyncClient
    ) -> None:
        person = await add(admin, "a@example.com", "owner")
        await give_key(sv, person["id"], SECRET)
        async with sv.database.session() as session:
            await session.execute(update(UserRow).values(email="b@example.com"))
            await touch_keys(session)
        await sv.mirrors.refresh()
        assert (await actor_of_a_change(app, admin))["api_key"]["user"]["email"] == "b@example.com"

    async def test_is_known_without_a_query(self, app: App, sv: Services, admin: httpx.AsyncClient) -> None:
        person = await add(admin, "a@example.com", "owner")
        await give_key(sv, person["id"], SECRET)
        async with client_of(app, SECRET) as keyed:
            with told(sv) as statements:
                assert (await keyed.get("/v1/prices")).status_code == 200
        assert any("FROM prices" in each for each in statements), "what the route itself asks is seen"
        assert not [each for each in statements if "FROM users" in each or "FROM api_keys" in each]


class TestNobodysAdminKey:
    async def test_is_an_accounts_and_has_no_email(self, admin: httpx.AsyncClient) -> None:
        assert (await admin.post(PROJECTS, json={"name": "p"})).status_code == 200
        [entry] = await audit(admin, "project.created")
        assert entry["actor"]["api_key"]["type"] == "service_account"
        assert "user" not in entry["actor"]["api_key"]
