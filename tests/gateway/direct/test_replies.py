"""A call gets the same reply on its connection as through ASGI: status, headers and body."""

import json
from typing import Any

import httpx
import msgspec
import pytest

from gateway.app import App
from gateway.direct import DirectCall
from gateway.errors import Unavailable
from gateway.services import Services
from gateway.settings import Settings
from tests.conftest import chat, client_of
from tests.fakes.upstream import Upstream
from tests.gateway import logged, people
from tests.gateway.direct.conftest import PATIENCE, Door
from tests.gateway.direct.raw_http import CHAT, Answer, body_of, request
from tests.polling import until

pytestmark = pytest.mark.anyio

OWN = {"date", "content-length", "transfer-encoding", "x-request-id", "openai-processing-ms"}
"""Headers of one message or one server alone."""
CALLS: dict[str, tuple[int, bytes]] = {
    "success": (200, body_of()),
    "unicode": (200, body_of("模型 é", "𝄞 é")),
    "no usage": (200, body_of("no-usage")),
    "stream": (200, body_of(stream=True)),
    "stream with usage": (200, body_of(stream=True, stream_options={"include_usage": True})),
    "stream of unicode": (200, body_of("unicode", stream=True)),
    "stream that breaks": (200, body_of("error-midway", stream=True)),
    "stream that is cut": (200, body_of("cut", stream=True)),
    "stream that fails first": (502, body_of("error-first", stream=True)),
    "no json": (400, b"{"),
    "no body": (400, b""),
    "no model": (400, b'{"messages": []}'),
    "no such model": (404, body_of("nothing")),
    "refused upstream": (400, body_of("status-400")),
    "limited upstream": (429, body_of("status-429")),
    "broken upstream": (502, body_of("bare-500")),
    "unavailable upstream": (503, body_of("status-503")),
    "upstream that is cut": (502, body_of("cut")),
}


def comparable(status: int, headers: Any, body: bytes) -> tuple[int, dict[str, str], bytes]:
    return status, {name: value for name, value in headers.items() if name not in OWN}, body


def of_socket(answer: Answer) -> tuple[int, dict[str, str], bytes]:
    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.headers["date"].endswith("GMT")
    return comparable(answer.status, answer.headers, answer.body)


class TestBothWays:
    @pytest.mark.parametrize(("status", "body"), CALLS.values(), ids=CALLS.keys())
    async def test_are_answered_alike(
        self, status: int, body: bytes, door: Door, client: httpx.AsyncClient, upstream: Upstream, sv: Services
    ) -> None:
        through_asgi = await client.post(CHAT, content=body, headers={"content-type": "application/json"})
        connection = await door.client()
        ways: list[dict[str, str]] = [{}, {"expect": "nothing"}]
        for way in ways:
            answer = await connection.ask(request(door.key, body, method="POST", **way))
            assert of_socket(answer) == comparable(status, through_asgi.headers, through_asgi.content)
        rows = await logged.rows(sv)
        assert len({(row.outcome, row.status, row.cost_nano, row.reply) for row in rows}) == 1
        assert len(rows) == 3

    @pytest.mark.parametrize("key", [None, "sk-wrong", "é"])
    async def test_without_a_key(self, key: str | None, door: Door, app: App) -> None:
        headers = [(b"authorization", f"Bearer {key}".encode())] if key else []
        async with client_of(app, None) as nobody:
            through_asgi = await nobody.post(CHAT, json=chat("echo"), headers=headers)
        answer = await (await door.client()).ask(request(key))
        assert of_socket(answer) == comparable(401, through_asgi.headers, through_asgi.content)

    async def test_completions_too(self, door: Door, client: httpx.AsyncClient) -> None:
        body = json.dumps({"model": "echo", "prompt": "hello"}).encode()
        through_asgi = await client.post("/v1/completions", content=body)
        answer = await (await door.client()).ask(request(door.key, body, url="/v1/completions"))
        assert of_socket(answer) == comparable(200, through_asgi.headers, through_asgi.content)

    async def test_a_rate_limit(
        self, door: Door, client: httpx.AsyncClient, admin: httpx.AsyncClient, project_key: Any
    ) -> None:
        url = f"/v1/organization/projects/{project_key['project_id']}/rate_limits"
        limits = (await admin.get(url)).json()["data"]
        limit = next(each for each in limits if each["model"] == "echo")
        changed = await admin.post(f"{url}/{limit['id']}", json={"max_requests_per_1_minute": 1})
        assert changed.status_code == 200, changed.text
        connection = await door.client()
        assert (await connection.ask(request(door.key))).status == 200
        answer = await connection.ask(request(door.key))
        through_asgi = await client.post(CHAT, json=chat("echo"))
        assert answer.status == through_asgi.status_code == 429
        assert answer.headers.keys() - OWN == through_asgi.headers.keys() - OWN
        assert answer.error["code"] == through_asgi.json()["error"]["code"]

    @pytest.mark.parametrize("stream", [False, True])
    async def test_a_log_that_cannot_be_written(
        self, stream: bool, door: Door, client: httpx.AsyncClient, sv: Services, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(_: bytes) -> None:
            raise Unavailable("The disk is full.")

        monkeypatch.setattr(sv.spool, "append", full)
        through_asgi = await client.post(CHAT, json=chat("echo", stream=stream))
        answer = await (await door.client()).ask(request(door.key, body_of(stream=stream)))
        assert of_socket(answer) == comparable(through_asgi.status_code, through_asgi.headers, through_asgi.content)
        assert b"disk is full" in answer.body


class TestPeople:
    async def test_who_have_signed_in_may_call_for_their_project(
        self, door: Door, app: App, admin: httpx.AsyncClient, project_key: dict[str, Any], upstream: Upstream
    ) -> None:
        """Their cookie is looked at, and that another site's page cannot use it."""
        await people.add(admin, "ann@example.com", role="owner")
        async with people.browser(app) as browser:
            await people.sign_in(browser, "ann@example.com")
            cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
            csrf = browser.headers["x-csrf-token"]
        connection = await door.client()
        project = {"openai_project": project_key["project_id"]}
        own = {"host": "gateway", "origin": people.ORIGIN, "x_csrf_token": csrf, "cookie": cookie} | project
        answer = await connection.ask(request(None, None, **own))
        assert (answer.status, answer.text) == (200, "hello")
        answer = await connection.ask(request(None, body_of(stream=True), **own))
        assert answer.body.endswith(b"data: [DONE]\n\n")
        assert (await connection.ask(request(None, None, **(own | {"origin": "http://elsewhere"})))).status == 403
        assert (await connection.ask(request(None, None, **(own | {"cookie": "a=b"})))).status == 401


class TestShortcut:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        """Upstreams are not read on for those who left."""
        return msgspec.structs.replace(settings, timeouts=msgspec.structs.replace(settings.timeouts, drain=0.0))

    async def test_pieces_that_are_waited_for_wake_nobody(
        self, door: Door, upstream: Upstream, sv: Services, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sent = list[bytes]()
        send = DirectCall.send_at_once

        def noted(call: DirectCall, piece: bytes) -> bool:
            sent.append(piece)
            return send(call, piece)

        monkeypatch.setattr(DirectCall, "send_at_once", noted)
        client = await door.client()
        client.write(request(door.key, body_of("endless", stream=True)))
        await client.head()
        body = b""
        while len(sent) < 5:
            body += await client.chunk()
        assert all(piece in body for piece in sent[:4])
        assert b"usage" not in body
        await client.close()
        await until(upstream.hung_up.is_set, PATIENCE)
        [row] = await logged.rows(sv)
        assert row.outcome == "client_left"
        assert json.loads(row.reply or b"")["choices"][0]["message"]["content"].startswith("more " * 4)
