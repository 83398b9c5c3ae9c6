"""People who are signed in, as browsers are: with a cookie, an origin and a CSRF token."""

from typing import Any

import httpx

from gateway.app import App
from tests.conftest import client_of

PASSWORD = "correct horse battery"
ORIGIN = "http://gateway"
USERS = "/v1/organization/users"
SESSIONS = "/v1/sessions"


async def add(admin: httpx.AsyncClient, email: str, role: str = "reader", **more: Any) -> dict[str, Any]:
    answer = await admin.post(USERS, json={"email": email, "role": role, "password": PASSWORD} | more)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def join(admin: httpx.AsyncClient, project_id: str, user_id: str, role: str) -> None:
    url = f"/v1/organization/projects/{project_id}/users"
    answer = await admin.post(url, json={"user_id": user_id, "role": role})
    assert answer.status_code == 200, answer.text


def browser(app: App, **headers: str) -> httpx.AsyncClient:
    """Nobody yet. Use as an asynchronous context manager."""
    client = client_of(app, None)
    client.headers.update({"origin": ORIGIN, "sec-fetch-site": "same-origin"} | headers)
    return client


async def try_sign_in(client: httpx.AsyncClient, email: str, password: str = PASSWORD, **more: str) -> httpx.Response:
    return await client.post(SESSIONS, json={"email": email, "password": password} | more)


async def sign_in(client: httpx.AsyncClient, email: str, password: str = PASSWORD, **more: str) -> dict[str, Any]:
    """The answer; from now on the client acts for that person."""
    answer = await try_sign_in(client, email, password, **more)
    assert answer.status_code == 200, answer.text
    client.headers["x-csrf-token"] = answer.json()["csrf_token"]
    return answer.json()


async def audit(admin: httpx.AsyncClient, type: str) -> list[dict[str, Any]]:
    """Entries of the audit log, newest first."""
    answer = await admin.get("/v1/organization/audit_logs", params={"event_types[]": type})
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]
