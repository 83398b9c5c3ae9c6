"""No secret is ever in the audit log."""

from typing import Any

import httpx
import msgspec
import pytest
from pyotp.totp import TOTP
from sqlalchemy import text

from gateway.app import App
from gateway.db.database import Database
from gateway.settings import Secret, Settings
from tests.gateway.people import PASSWORD, SESSIONS, add, browser, sign_in, try_sign_in

pytestmark = pytest.mark.anyio

OTHER = "another-long-password"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return msgspec.structs.replace(settings, encryption_key=Secret("ab" * 32))


async def done(client: httpx.AsyncClient, path: str, body: Any = None, method: str = "POST") -> Any:
    answer = await client.request(method, path, json=body or {})
    assert answer.status_code == 200, (path, answer.text)
    return answer.json()


async def secrets_of_keys(admin: httpx.AsyncClient, key: dict[str, Any]) -> list[str]:
    project = f"/v1/organization/projects/{key['project_id']}"
    account = await done(admin, f"{project}/service_accounts", {"name": "bot"})
    second = await done(admin, f"{project}/service_accounts/{account['id']}/api_keys", {"name": "second"})
    rotated = await done(admin, f"{project}/api_keys/{key['id']}/rotate")
    owner = await done(admin, "/v1/organization/admin_api_keys", {"name": "x"})
    return [account["api_key"]["value"], second["value"], rotated["value"], owner["value"], key["value"]]


async def secrets_of_webhooks(admin: httpx.AsyncClient) -> list[str]:
    hook = {"url": "https://chat.example/services/geheim-1?token=geheim-2", "event_types": ["budget.exhausted"]}
    made = await done(admin, "/v1/webhooks", hook)
    changed = {"url": "https://chat.example/geheim-3"}
    await done(admin, f"/v1/webhooks/{made['id']}", changed)
    body = {"keep_old_secret_active_for_24_hours": True}
    rotated = await done(admin, f"/v1/webhooks/{made['id']}/rotate_secret", body)
    await done(admin, f"/v1/webhooks/{made['id']}", method="DELETE")
    return [made["signing_secret"], rotated["signing_secret"], "geheim-1", "geheim-2", "geheim-3"]


async def secrets_of_upstreams(admin: httpx.AsyncClient) -> list[str]:
    body = {
        "name": "u", "base_url": "http://127.0.0.1:9/v1", "models": ["u1"], "api_key": "sk-geheim-4",
        "secret_headers": {"x-token": "geheim-5"}, "headers": {"x-open": "geheim-6"},
        "proxy": "http://user:geheim-7@127.0.0.1:3128",
    }  # fmt: skip
    made = await done(admin, "/v1/upstreams", body)
    await done(admin, f"/v1/upstreams/{made['id']}", {"api_key": "sk-geheim-8"})
    return [f"geheim-{number}" for number in range(4, 9)]


async def secrets_of_people(app: App, admin: httpx.AsyncClient) -> list[str]:
    await add(admin, "a@b.c", "owner")
    person = await add(admin, "d@e.f")
    await done(admin, f"/v1/organization/users/{person['id']}/password", {"password": OTHER})
    invite = await done(admin, "/v1/organization/invites", {"email": "g@h.i", "role": "reader"})
    async with browser(app) as client:
        await try_sign_in(client, "a@b.c", "a wrong password")
        signed = await sign_in(client, "a@b.c")
        enrolled = await done(client, f"{SESSIONS}/current/totp", {"password": PASSWORD})
        code = {"code": TOTP(enrolled["secret"]).now()}
        confirmed = await done(client, f"{SESSIONS}/current/totp/confirm", code)
        change = {"current_password": PASSWORD, "password": OTHER}
        await done(client, f"{SESSIONS}/current/password", change)
        cookies = [str(value) for value in client.cookies.values()]
    return [
        PASSWORD, OTHER, "a wrong password", signed["csrf_token"], enrolled["secret"], *confirmed["recovery_codes"],
        *cookies, invite["invite_url"].split("token=")[-1].split("/")[-1],
    ]  # fmt: skip


class TestSecrets:
    async def test_are_never_in_the_audit_log(
        self, app: App, admin: httpx.AsyncClient, database: Database, project_key: dict[str, Any]
    ) -> None:
        secrets = [
            *await secrets_of_keys(admin, project_key),
            *await secrets_of_webhooks(admin),
            *await secrets_of_upstreams(admin),
            *await secrets_of_people(app, admin),
        ]
        assert len(secrets) > 25
        assert all(len(each) >= 8 for each in secrets)
        async with database.session() as session:
            log = list(await session.scalars(text("SELECT to_jsonb(a)::text FROM audit_logs a")))
        assert len(log) > 15
        for secret in secrets:
            assert not [line for line in log if secret in line], secret
