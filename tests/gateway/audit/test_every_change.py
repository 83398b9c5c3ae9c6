"""Every call of an administrator that changes something is in the audit log, in the transaction of the change itself.

Each route is called twice: first while nothing can be written to the log, which must leave every table as it was; then for
real. A route that is not known here fails the first test: give it an entry in CHANGES, or a reason in NOTHING_TO_TELL.
"""

import inspect
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec
import pytest
from litestar.handlers import HTTPRouteHandler
from pyotp.totp import TOTP
from sqlalchemy import text

from gateway.app import App
from gateway.db.base import Base
from gateway.db.database import Database
from gateway.kit.ids import new_request_id
from gateway.routes.urls import ROUTES
from gateway.settings import EngineSettings, Secret, Settings
from tests.conftest import create_key
from tests.contract import SCHEMAS
from tests.fakes.engine import BASE
from tests.fakes.tuned_models import add_job, add_tuned
from tests.gateway.people import PASSWORD, add, browser, sign_in

pytestmark = pytest.mark.anyio

ORGANIZATION = "/v1/organization"
PROJECT = "/v1/organization/projects/{}"
CHANNEL = {"type": "email", "recipients": ["a@b.c"]}
LIMIT = {"threshold_amount": 100, "currency": "USD", "interval": "month"}
HOOK = {"url": "http://127.0.0.1:9", "event_types": ["budget.exhausted"]}
TYPES = set(SCHEMAS["$defs"]["AuditLogEventType"]["enum"])

Ask = tuple[str, Any]
"""A URL and a body."""


@dataclass
class World:
    """A gateway with a project that has a key, and an owner who has signed in."""

    app: App
    admin: httpx.AsyncClient
    person: httpx.AsyncClient
    database: Database
    key: dict[str, Any]

    @property
    def project(self) -> str:
        return PROJECT.format(self.key["project_id"])

    async def make(self, path: str, body: Any = None, *, client: httpx.AsyncClient | None = None) -> dict[str, Any]:
        answer = await (client or self.admin).post(path, json=body or {})
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def one(self, path: str, body: Any) -> str:
        """The URL of a new thing."""
        return f"{path}/{(await self.make(path, body))['id']}"


Prepare = Callable[[World], Awaitable[Ask]]
CHANGES: dict[tuple[str, str], Prepare] = {}
"""Method and URL -> what gets everything ready for that call, and says how it is made."""
BY_PERSON = ("/v1/sessions",)
"""What only somebody who is signed in can call."""
OF_PEOPLE = {("POST", f"{PROJECT}/api_keys")}
"""Calls whose result belongs to the person who makes them."""
NOTHING_TO_TELL = {
    ("POST", "/v1/sessions/current/totp"): "it takes effect when it is confirmed, which is told",
    ("POST", "/v1/upstreams/{}/test"): "it asks the provider something and changes nothing",
    ("POST", "/v1/webhooks/{}/test"): "it sends a sample and changes nothing",
    ("POST", "/v1/webhook_endpoints/{}/test"): "it sends a sample and changes nothing",
}


def change(method: str, template: str) -> Callable[[Prepare], Prepare]:
    def known(prepare: Prepare) -> Prepare:
        CHANGES[method, template] = prepare
        return prepare

    return known


def simple(method: str, template: str, path: str, body: Any = None) -> None:
    """A call that needs nothing before it. `path` may begin with {project}."""

    async def prepare(w: World) -> Ask:
        return path.replace("{project}", w.project), body

    CHANGES[method, template] = prepare


def thing(template: str, made: Any, changed: Any) -> None:
    """POST to make one, POST to its URL to change it (None: that cannot be done), DELETE."""

    def path(w: World) -> str:
        return template.replace(PROJECT, w.project)

    async def create(w: World) -> Ask:
        return path(w), made

    async def update(w: World) -> Ask:
        return await w.one(path(w), made), changed

    async def delete(w: World) -> Ask:
        return await w.one(path(w), made), None

    CHANGES["POST", template] = create
    CHANGES["DELETE", f"{template}/{{}}"] = delete
    if changed is not None:
        CHANGES["POST", f"{template}/{{}}"] = update


simple("POST", f"{ORGANIZATION}/projects", f"{ORGANIZATION}/projects", {"name": "new"})
simple("POST", PROJECT, "{project}", {"name": "other"})
simple("POST", f"{PROJECT}/archive", "{project}/archive")
simple("POST", f"{PROJECT}/model_permissions", "{project}/model_permissions", {"mode": "deny_list", "model_ids": ["m"]})
simple("POST", f"{PROJECT}/rate_limits/{{}}", "{project}/rate_limits/rl-*", {"max_requests_per_1_minute": 5})
simple("POST", f"{PROJECT}/working_keys", "{project}/working_keys", {"purpose": "judge"})
simple("POST", f"{PROJECT}/retention", "{project}/retention", {"body_days": 30})
simple("POST", f"{PROJECT}/spend_limit", "{project}/spend_limit", LIMIT)
simple("DELETE", f"{PROJECT}/exchanges", "{project}/exchanges?user=ann")
simple("POST", f"{ORGANIZATION}/spend_limit", f"{ORGANIZATION}/spend_limit", LIMIT)
thing(f"{PROJECT}/service_accounts", {"name": "bot"}, {"name": "robot"})
thing(f"{PROJECT}/spend_alerts", LIMIT | {"notification_channel": CHANNEL}, LIMIT | {"notification_channel": CHANNEL})
thing(
    f"{ORGANIZATION}/spend_alerts", LIMIT | {"notification_channel": CHANNEL}, LIMIT | {"notification_channel": CHANNEL}
)
thing(f"{ORGANIZATION}/admin_api_keys", {"name": "second"}, None)
thing(f"{ORGANIZATION}/users", {"email": "new@b.c", "role": "reader", "password": PASSWORD}, {"role": "owner"})
thing(f"{ORGANIZATION}/invites", {"email": "new@b.c", "role": "reader"}, None)
thing("/v1/routes", {"name": "r", "targets": [{"model": "echo"}]}, {"targets": [{"model": "slow"}]})
thing("/v1/upstreams", {"name": "u", "base_url": "http://127.0.0.1:9/v1", "models": ["u1"]}, {"name": "v"})
thing("/v1/budgets", {"period": "day", "limit_usd": 1}, {"limit_usd": 2})
thing("/v1/webhooks", HOOK, {"name": "x"})
thing("/v1/webhook_endpoints", HOOK, {"name": "x"})
thing("/v1/prices", {"model": "m", "input": 1, "output": 1, "effective_at": 4_000_000_000}, None)
simple("POST", "/v1/sessions", "/v1/sessions", {"email": "owner@b.c", "password": PASSWORD})


@change("POST", "/v1/budgets/holders/{}/release")
async def _(w: World) -> Ask:
    """Of a process that was not heard of for long, while another was."""
    long_ago = "now() - interval '1 hour'"
    for id, seen_at in (("dead", long_ago), ("alive", "now()")):
        values = f"'{id}', '', {long_ago}, {long_ago}, {seen_at}"
        await run(w.database, f"INSERT INTO budget_holders (id, host, created_at, since, seen_at) VALUES ({values})")
    return "/v1/budgets/holders/dead/release", None


@change("DELETE", f"{PROJECT}/exchanges/{{}}")
async def _(w: World) -> Ask:
    """Of one that is still on its way to the log."""
    return f"{w.project}/exchanges/{new_request_id()}", None


@change("DELETE", f"{PROJECT}/model_permissions")
async def _(w: World) -> Ask:
    await w.make(f"{w.project}/model_permissions", {"mode": "deny_list", "model_ids": ["m"]})
    return f"{w.project}/model_permissions", None


@change("DELETE", f"{PROJECT}/rate_limits/{{}}")
async def _(w: World) -> Ask:
    await w.make(f"{w.project}/rate_limits/rl-*", {"max_requests_per_1_minute": 5})
    return f"{w.project}/rate_limits/rl-*", None


@change("DELETE", f"{PROJECT}/spend_limit")
async def _(w: World) -> Ask:
    await w.make(f"{w.project}/spend_limit", LIMIT)
    return f"{w.project}/spend_limit", None


@change("DELETE", f"{ORGANIZATION}/spend_limit")
async def _(w: World) -> Ask:
    await w.make(f"{ORGANIZATION}/spend_limit", LIMIT)
    return f"{ORGANIZATION}/spend_limit", None


@change("POST", f"{PROJECT}/service_accounts/{{}}/api_keys")
async def _(w: World) -> Ask:
    return f"{w.project}/service_accounts/{w.key['account']}/api_keys", {"name": "second"}


@change("POST", f"{PROJECT}/api_keys")
async def _(w: World) -> Ask:
    return f"{w.project}/api_keys", {"name": "mine"}


@change("POST", f"{PROJECT}/api_keys/{{}}")
async def _(w: World) -> Ask:
    return f"{w.project}/api_keys/{w.key['id']}", {"tags": ["x"]}


@change("POST", f"{PROJECT}/api_keys/{{}}/rotate")
async def _(w: World) -> Ask:
    return f"{w.project}/api_keys/{w.key['id']}/rotate", {}


@change("DELETE", f"{PROJECT}/api_keys/{{}}")
async def _(w: World) -> Ask:
    return f"{w.project}/api_keys/{w.key['id']}", None


@change("POST", f"{PROJECT}/users")
async def _(w: World) -> Ask:
    return f"{w.project}/users", {"user_id": (await add(w.admin, "m@b.c"))["id"], "role": "member"}


@change("POST", f"{PROJECT}/users/{{}}")
async def _(w: World) -> Ask:
    person = (await add(w.admin, "m@b.c"))["id"]
    await w.make(f"{w.project}/users", {"user_id": person, "role": "member"})
    return f"{w.project}/users/{person}", {"role": "owner"}


@change("DELETE", f"{PROJECT}/users/{{}}")
async def _(w: World) -> Ask:
    person = (await add(w.admin, "m@b.c"))["id"]
    await w.make(f"{w.project}/users", {"user_id": person, "role": "member"})
    return f"{w.project}/users/{person}", None


@change("POST", f"{ORGANIZATION}/users/{{}}/password")
async def _(w: World) -> Ask:
    person = (await add(w.admin, "m@b.c"))["id"]
    return f"{ORGANIZATION}/users/{person}/password", {"password": "another long password"}


@change("DELETE", f"{ORGANIZATION}/users/{{}}/totp")
async def _(w: World) -> Ask:
    await _switch_on(w)
    return f"{ORGANIZATION}/users/{await _me(w)}/totp", None


@change("POST", "/v1/invites/accept")
async def _(w: World) -> Ask:
    invite = await w.make(f"{ORGANIZATION}/invites", {"email": "new@b.c", "role": "reader"})
    token = re.split(r"token=|/", invite["invite_url"])[-1]
    return "/v1/invites/accept", {"token": token, "name": "New", "password": PASSWORD}


@change("POST", "/v1/routes/{}/rollback")
async def _(w: World) -> Ask:
    url = await w.one("/v1/routes", {"name": "r", "targets": [{"model": "echo"}]})
    await w.make(url, {"targets": [{"model": "slow"}]})
    return f"{url}/rollback", {}


@change("POST", "/v1/webhooks/{}/rotate_secret")
async def _(w: World) -> Ask:
    return f"{await w.one('/v1/webhooks', HOOK)}/rotate_secret", {"keep_old_secret_active_for_24_hours": True}


@change("POST", "/v1/webhook_endpoints/{}/rotate_secret")
async def _(w: World) -> Ask:
    return f"{await w.one('/v1/webhooks', HOOK)}/rotate_secret", {}


@change("POST", "/v1/fine_tuning/checkpoints/{}")
async def _(w: World) -> Ask:
    model = await add_tuned(w.database, await add_job(w.database, w.key), step=8)
    other = (await create_key(w.admin, "other"))["project_id"]
    return f"/v1/fine_tuning/checkpoints/{model.id}/permissions", {"project_ids": [other]}


@change("DELETE", "/v1/fine_tuning/checkpoints/{}")
async def _(w: World) -> Ask:
    model = await add_tuned(w.database, await add_job(w.database, w.key), step=8)
    path = f"/v1/fine_tuning/checkpoints/{model.id}/permissions"
    granted = await w.make(path, {"project_ids": [(await create_key(w.admin, "other"))["project_id"]]})
    return f"{path}/{granted['data'][0]['id']}", None


@change("POST", "/v1/models/load")
@change("POST", "/v1/models/unload")
async def _(w: World) -> Ask:
    model = await add_tuned(w.database, await add_job(w.database, w.key))
    await w.app.services.mirrors.refresh()
    return "", {"model": model.id}


@change("DELETE", "/v1/sessions/current")
async def _(w: World) -> Ask:
    return "/v1/sessions/current", None


@change("DELETE", "/v1/sessions/{}")
async def _(w: World) -> Ask:
    async with browser(w.app) as other:
        made = await sign_in(other, "owner@b.c")
    return f"/v1/sessions/{made['id']}", None


simple("POST", "/v1/sessions/current/name", "/v1/sessions/current/name", {"name": "Anna"})


@change("POST", "/v1/sessions/current/password")
async def _(w: World) -> Ask:
    return "/v1/sessions/current/password", {"current_password": PASSWORD, "password": "another long password"}


@change("POST", "/v1/sessions/current/totp/confirm")
async def _(w: World) -> Ask:
    made = await w.make("/v1/sessions/current/totp", {"password": PASSWORD}, client=w.person)
    return "/v1/sessions/current/totp/confirm", {"code": TOTP(made["secret"]).now()}


@change("POST", "/v1/sessions/current/totp/disable")
async def _(w: World) -> Ask:
    app = await _switch_on(w)
    return "/v1/sessions/current/totp/disable", {"password": PASSWORD, "code": app.now()}


async def _switch_on(w: World) -> TOTP:
    made = await w.make("/v1/sessions/current/totp", {"password": PASSWORD}, client=w.person)
    app = TOTP(made["secret"])
    await w.make("/v1/sessions/current/totp/confirm", {"code": app.now()}, client=w.person)
    async with w.database.session() as session:
        await session.execute(text("UPDATE users SET totp_last_step = NULL"))
    return app


async def _me(w: World) -> str:
    return (await w.person.get("/v1/sessions/current")).json()["user"]["id"]


def every() -> list[tuple[str, str]]:
    """Each route that an administrator changes something with, its parameters as `{}`."""
    found: list[tuple[str, str]] = []
    for handler in ROUTES:
        assert isinstance(handler, HTTPRouteHandler)
        if "caller" in inspect.signature(handler.fn).parameters:
            continue  # a project's key: exchanges and jobs are its history
        for path in sorted(handler.paths):
            template = re.sub(r"\{[^}]+\}", "{}", path)
            found += [(method, template) for method in sorted(handler.http_methods) if method in ("POST", "DELETE")]
    return found


@pytest.fixture
def settings(settings: Settings) -> Settings:
    engine = EngineSettings(url="http://127.0.0.1:9/v1", model=BASE, model_path="/nowhere", load_seconds=0.05)
    return msgspec.structs.replace(settings, encryption_key=Secret("ab" * 32), engine=engine)


@pytest.fixture
async def world(
    app: App, admin: httpx.AsyncClient, database: Database, project_key: dict[str, Any]
) -> AsyncIterator[World]:
    await add(admin, "owner@b.c", "owner")
    async with browser(app) as person:
        await sign_in(person, "owner@b.c")
        yield World(app, admin, person, database, project_key)


BREAK = """
CREATE FUNCTION refuse_audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no audit'; END $$;
CREATE TRIGGER refuse_audit BEFORE INSERT ON audit_logs FOR EACH ROW EXECUTE FUNCTION refuse_audit();
"""
MEND = "DROP TRIGGER refuse_audit ON audit_logs; DROP FUNCTION refuse_audit();"
NOT_PART_OF_A_CHANGE = {"sign_in_failures"}
"""Passwords that were tried are counted in a transaction of their own, so that no refusal undoes the count."""
MOVES_BY_ITSELF = "ARRAY['last_used_at', 'seen_at', 'last_login_at']"


async def run(database: Database, statements: str) -> None:
    async with database.raw() as connection:
        await connection.execute(statements)


async def everything(database: Database) -> dict[str, str]:
    """A fingerprint of each table."""
    row = f"(to_jsonb(t) - {MOVES_BY_ITSELF})::text"
    each = "SELECT '{name}' AS name, md5(coalesce(string_agg({row}, ',' ORDER BY {row}), '')) AS rows FROM {name} t"
    names = sorted(Base.metadata.tables.keys() - NOT_PART_OF_A_CHANGE)
    async with database.session() as session:
        found = await session.execute(text(" UNION ALL ".join(each.format(name=name, row=row) for name in names)))
        return {line.name: line.rows for line in found}


async def logged(database: Database) -> list[str]:
    async with database.session() as session:
        return list(await session.scalars(text("SELECT type FROM audit_logs")))


class TestEveryChange:
    def test_is_known_here(self) -> None:
        routes = set(every())
        assert routes == CHANGES.keys() | NOTHING_TO_TELL.keys()
        assert not CHANGES.keys() & NOTHING_TO_TELL.keys()
        assert len(routes) > 60

    @pytest.mark.parametrize("route", sorted(CHANGES), ids=" ".join)
    async def test_is_in_the_audit_log_or_does_not_happen(self, world: World, route: tuple[str, str]) -> None:
        method, template = route
        path, body = await CHANGES[route](world)
        by_person = template.startswith(BY_PERSON) or route in OF_PEOPLE
        client = world.person if by_person else world.admin
        request = client.build_request(method, path or template, json=body) if body is not None else None

        async def call() -> httpx.Response:
            return await (client.send(request) if request else client.request(method, path))

        before = await everything(world.database)
        await run(world.database, BREAK)
        try:
            refused = await call()
        finally:
            await run(world.database, MEND)
        assert refused.status_code == 500, refused.text
        assert await everything(world.database) == before
        entries = await logged(world.database)
        answer = await call()
        assert answer.status_code in (200, 202), answer.text
        new = await logged(world.database)
        for each in entries:
            new.remove(each)
        assert new
        assert set(new) <= TYPES
