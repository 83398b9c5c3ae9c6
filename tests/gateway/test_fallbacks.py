"""Calls whose first choice does not answer, in front of an upstream that fails on command."""

import asyncio
import json
from typing import Any

import httpx
import msgspec
import pytest

from gateway.errors import Unavailable
from gateway.inference import CHAT_COMPLETIONS
from gateway.protocol.routes import Breaker, Fallback, Hedge, Retries, RouteTimeouts, Target
from gateway.routes.asgi import AsgiChannel
from gateway.routes.model_calls import answer
from gateway.services import Services
from gateway.settings import RouteSettings, RoutingSettings, Settings, UpstreamSettings
from gateway.upstreams.client import SHUTTING_DOWN
from tests.conftest import chat
from tests.fakes.upstream import WORDS, Upstream
from tests.gateway import logged
from tests.gateway.routes.test_model_calls import Server
from tests.gateway.test_inference import COST_NANO, chunks, ending, events
from tests.polling import until

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
QUICK = Retries(count=0)


def route(name: str, *targets: str, to: str | None = "echo", **more: Any) -> RouteSettings:
    spec: dict[str, Any] = {"retries": QUICK, "breaker": Breaker(failures=0)} | more
    fallbacks = (Fallback(model=to),) if to else ()
    return RouteSettings(name=name, targets=tuple(Target(model=each) for each in targets), fallbacks=fallbacks, **spec)


ROUTES = (
    route("to-echo", "status-500"),
    route("retried", "bare-500", retries=Retries(count=2, backoff_ms=1)),
    route("limited", "status-429", to="status-500"),
    route("limited-then-echo", "status-429"),
    route("long", "error-long"),
    route("away", "nobody"),
    route("cut-body", "cut"),
    route("no-json", "empty-200"),
    route("cut-head", "cut-before"),
    route("error-frame", "error-first"),
    route("hanging", "slow", timeouts=RouteTimeouts(first_token=0.1)),
    route("hedged", "slow", hedge=Hedge(after_ms=20)),
    route("patient", "status-500", retries=Retries(count=1, backoff_ms=60_000, max_backoff_ms=60_000)),
    route("idle", "gated", timeouts=RouteTimeouts(idle=0.1)),
    route("short", "gated", timeouts=RouteTimeouts(total=0.2)),
    route("fault", "status-400"),
    route("hopeless", "cut-before", to="status-500"),
    route("open", "bare-500", to=None, breaker=Breaker(failures=1, open_seconds=30)),
    route("mixed", "echo", "no-usage", sticky="user"),
)


@pytest.fixture
def settings(settings: Settings, upstream: Upstream) -> Settings:
    nobody = UpstreamSettings(name="away", base_url="http://127.0.0.1:1/v1", models=("nobody",))
    named = UpstreamSettings(
        name="named", base_url=upstream.url, models=("our-name",), served_names={"our-name": "echo"}
    )
    twins = UpstreamSettings(name="twins", base_url="http://127.0.0.1:1/v1", replicas=(upstream.url,), models=("twin",))
    routing = RoutingSettings(aliases={"gpt": "echo"}, fallbacks={"status-503": ("gpt",)}, retries=1)
    return msgspec.structs.replace(
        settings, upstreams=(*settings.upstreams, nobody, named, twins), routes=ROUTES, routing=routing
    )


def told(reply: httpx.Response) -> dict[str, str]:
    """What a reply's headers say of its way."""
    return {
        name[10:]: value
        for name, value in reply.headers.items()
        if name.startswith("x-tuneway-") and name[-4:] != "cost"
    }


def failures(attempts: Any) -> list[tuple[str, str | None]]:
    return [(each["model"], each["failure"]) for each in attempts or ()]


LED = [
    ("to-echo", "server_error"),
    ("limited-then-echo", "rate_limit"),
    ("long", "context_length"),
    ("away", "connection"),
    ("cut-head", "connection"),
    ("hanging", "timeout"),
    ("hedged", "timeout"),
]


class TestFallingBack:
    @pytest.mark.parametrize(("name", "condition"), [*LED, ("cut-body", "server_error"), ("no-json", "server_error")])
    async def test_a_whole_reply(self, name: str, condition: str, client: httpx.AsyncClient, sv: Services) -> None:
        reply = await client.post(CHAT, json=chat(name))
        assert reply.status_code == 200, reply.text
        body = reply.json()
        assert (body["choices"][0]["message"]["content"], body["model"]) == ("hello", "echo")
        assert told(reply) == {"model": "echo", "route": f"{name}@0", "fallback": condition, "attempts": "2"}
        row = await logged.row(sv)
        assert (row.requested_model, row.served_model, row.route) == (name, "echo", f"{name}@0")
        assert (ending(row), row.cost_nano, row.upstream) == (("completed", 200, False), COST_NANO, "fake")
        assert {model for model, _ in failures(row.attempts)} == {
            "echo",
            row.attempts[0]["model"],
            row.attempts[1]["model"],
        }  # type: ignore[index]
        assert sv.traffic.load.total == 0

    @pytest.mark.parametrize(("name", "condition"), [*LED, ("error-frame", "server_error")])
    async def test_a_stream_before_its_first_token(
        self, name: str, condition: str, client: httpx.AsyncClient, sv: Services
    ) -> None:
        reply = await client.post(CHAT, json=chat(name, stream=True))
        text = "".join(each["choices"][0]["delta"].get("content", "") for each in chunks(reply))
        assert text == "".join(WORDS)
        assert told(reply) == {"model": "echo", "route": f"{name}@0", "fallback": condition, "attempts": "2"}
        row = await logged.row(sv)
        assert (row.served_model, ending(row)) == ("echo", ("completed", 200, False))
        assert (sv.traffic.load.total, sv.streams, sv.calls) == (0, set(), set())

    async def test_the_fake_says_which_body_it_got(self, client: httpx.AsyncClient, upstream: Upstream) -> None:
        await client.post(CHAT, json=chat("to-echo", temperature=0.5, metadata={"a": "b"}))
        assert [each["model"] for each in upstream.requests] == ["status-500", "echo"]
        assert [each | {"model": ""} for each in upstream.requests] == [
            chat("", temperature=0.5, metadata={"a": "b"})
        ] * 2

    async def test_every_try_is_in_the_log_and_counted(self, client: httpx.AsyncClient, sv: Services) -> None:
        reply = await client.post(CHAT, json=chat("retried"))
        assert told(reply)["attempts"] == "4"
        row = await logged.row(sv)
        assert failures(row.attempts) == [("bare-500", "server_error")] * 3 + [("echo", None)]
        shown = (await client.get(f"/v1/exchanges/{row.id}")).json()
        assert (shown["route"], shown["attempts"]) == ("retried@0", row.attempts)
        assert all(each["upstream"] == "fake" and each["ms"] > 0 for each in shown["attempts"])
        metrics = (await client.get("/metrics")).text
        assert 'tuneway_failed_attempts_total{condition="server_error",model="bare-500"} 3.0' in metrics
        assert 'tuneway_fallbacks_total{condition="server_error",model="echo"} 1.0' in metrics

    async def test_without_a_route_by_the_settings(self, client: httpx.AsyncClient, sv: Services) -> None:
        reply = await client.post(CHAT, json=chat("status-503"))
        assert (reply.status_code, told(reply)) == (200, {"model": "echo", "fallback": "server_error", "attempts": "2"})
        assert (await logged.row(sv)).route is None

    async def test_replicas_stand_in_for_each_other(self, client: httpx.AsyncClient) -> None:
        for stream in (False, True) * 4:
            reply = await client.post(CHAT, json=chat("twin", stream=stream))
            assert reply.status_code == 200, reply.text
            assert "x-tuneway-fallback" not in reply.headers

    async def test_a_plain_call_tells_of_no_way(self, client: httpx.AsyncClient, sv: Services) -> None:
        assert told(await client.post(CHAT, json=chat("echo"))) == {"model": "echo"}
        row = await logged.row(sv)
        assert (row.route, row.attempts) == (None, None)


class TestNotFallingBack:
    @pytest.mark.parametrize("value", ["off", "OFF"])
    async def test_when_the_call_says_so(self, value: str, client: httpx.AsyncClient, sv: Services) -> None:
        for stream in (False, True):
            reply = await client.post(CHAT, json=chat("retried", stream=stream), headers={"x-tuneway-fallback": value})
            assert (reply.status_code, reply.json()["error"]["code"]) == (502, "upstream_failed")
        rows = await logged.rows(sv)
        assert [failures(row.attempts) for row in rows] == [[("bare-500", "server_error")] * 3] * 2, "retries stay"

    async def test_when_the_client_is_at_fault(self, client: httpx.AsyncClient, upstream: Upstream) -> None:
        reply = await client.post(CHAT, json=chat("fault"))
        assert (reply.status_code, reply.json()["error"]["message"]) == (400, "upstream says status-400")
        assert len(upstream.requests) == 1
        for status in (404, 402):
            assert (await client.post(CHAT, json=chat(f"status-{status}"))).status_code == status

    async def test_the_most_telling_refusal_is_passed_on_with_its_headers(self, client: httpx.AsyncClient) -> None:
        reply = await client.post(CHAT, json=chat("limited"))
        assert (reply.status_code, reply.headers["retry-after"]) == (429, "7")
        assert reply.json()["error"]["message"] == "upstream says status-429"
        reply = await client.post(CHAT, json=chat("hopeless"))
        assert "answered 500" in reply.json()["error"]["message"]

    async def test_an_open_breaker_of_a_route_says_when_to_come_back(
        self, client: httpx.AsyncClient, upstream: Upstream, sv: Services
    ) -> None:
        assert (await client.post(CHAT, json=chat("open"))).status_code == 502
        reply = await client.post(CHAT, json=chat("open"))
        assert (reply.status_code, reply.headers["retry-after"], len(upstream.requests)) == (503, "30", 1)
        assert 'tuneway_open_breakers{model="bare-500",upstream="fake"} 1.0' in (await client.get("/metrics")).text
        rows = await logged.rows(sv)
        assert [ending(row) for row in rows] == [("failed", 502, True), ("refused", 503, True)]

    @pytest.mark.parametrize(("name", "code"), [("idle", "upstream_timeout"), ("short", "upstream_timeout")])
    async def test_a_stream_after_its_first_token_ends_with_an_error_frame(
        self, name: str, code: str, client: httpx.AsyncClient, sv: Services
    ) -> None:
        reply = await client.post(CHAT, json=chat(name, stream=True))
        *_, last = events(reply)
        assert json.loads(last)["error"]["code"] == code
        row = await logged.row(sv)
        assert (ending(row), row.served_model) == (("failed", 200, True), "gated")
        assert (sv.traffic.load.total, sv.streams) == (0, set())


class TestNames:
    async def test_an_alias_is_sent_by_its_real_name(
        self, client: httpx.AsyncClient, upstream: Upstream, sv: Services
    ) -> None:
        reply = await client.post(CHAT, json=chat("gpt"))
        assert (told(reply), upstream.requests[-1]["model"]) == ({"model": "echo"}, "echo")
        row = await logged.row(sv)
        assert (row.requested_model, row.served_model) == ("gpt", "echo")

    async def test_a_model_may_have_another_name_upstream(self, client: httpx.AsyncClient, upstream: Upstream) -> None:
        for stream in (False, True):
            reply = await client.post(CHAT, json=chat("our-name", stream=stream))
            assert (told(reply), upstream.requests[-1]["model"]) == ({"model": "our-name"}, "echo")

    @pytest.mark.parametrize(
        "odd", [b'"a\xff": 1', b'"stream": true, "stream_options": {"include_usage": true, "x": 1e999}']
    )
    async def test_what_only_another_name_has_to_be_read_for_is_the_clients_mistake(
        self, odd: bytes, client: httpx.AsyncClient
    ) -> None:
        """Clients send a 500 again."""
        reply = await client.post(CHAT, content=b'{"model": "our-name", "messages": [], %b}' % odd)
        assert (reply.status_code, reply.json()["error"]["type"]) == (400, "invalid_request_error"), reply.text

    async def test_a_client_stays_where_it_is(self, client: httpx.AsyncClient) -> None:
        async def model(user: str) -> str:
            return (await client.post(CHAT, json=chat("mixed", user=user))).headers["x-tuneway-model"]

        first = {user: await model(user) for user in "abcdefghijkl"}
        assert {user: await model(user) for user in first} == first
        assert set(first.values()) == {"echo", "no-usage"}

    async def test_routes_and_aliases_are_listed(self, client: httpx.AsyncClient) -> None:
        listed = {each["id"]: each for each in (await client.get("/v1/models")).json()["data"]}
        assert {"echo", "gpt", *(each.name for each in ROUTES)} <= listed.keys()
        assert listed["long"]["owned_by"] == "tuneway"
        for name in ("gpt", "long", "echo"):
            found = (await client.get(f"/v1/models/{name}")).json()
            assert found == listed[name]

    @pytest.mark.parametrize(("name", "why"), [("long", "is a route"), ("gpt", "is another name of `echo`")])
    async def test_neither_is_trained(self, name: str, why: str, client: httpx.AsyncClient) -> None:
        reply = await client.post("/v1/fine_tuning/jobs", json={"model": name, "training_file": "file-1"})
        error = reply.json()["error"]
        assert (reply.status_code, error["param"], error["code"]) == (400, "model", "model_not_available")
        assert why in error["message"]

    async def test_a_route_is_not_deleted_as_a_model(self, client: httpx.AsyncClient) -> None:
        reply = await client.delete("/v1/models/long")
        assert (reply.status_code, reply.json()["error"]["code"]) == (403, "insufficient_permissions")
        assert "is a route" in reply.json()["error"]["message"]


class TestLeaving:
    """A client that leaves, and a process that ends, while a retry is waited for."""

    async def waiting(self, sv: Services, upstream: Upstream, key: str, *, stream: bool) -> tuple[Server, Any]:
        server = Server(key, json.dumps(chat("patient", stream=stream)).encode())
        calling = asyncio.ensure_future(
            answer(sv, CHAT_COMPLETIONS, AsgiChannel(sv, server.scope, server.receive, server.send))
        )
        await until(lambda: upstream.requests)
        await until(lambda: not sv.traffic.load.total)
        return server, calling

    @pytest.mark.parametrize("stream", [False, True])
    async def test_a_client_that_leaves_ends_it(
        self, stream: bool, sv: Services, upstream: Upstream, project_key: dict[str, Any]
    ) -> None:
        server, calling = await self.waiting(sv, upstream, project_key["value"], stream=stream)
        server.gone.set()
        await calling
        row = await logged.row(sv)
        assert (server.sent, len(upstream.requests)) == ([], 1)
        assert (row.outcome, row.error, row.reply, row.streamed) == ("client_left", None, None, stream)
        assert sv.calls == set()

    async def test_a_process_that_ends_too(self, sv: Services, upstream: Upstream, project_key: dict[str, Any]) -> None:
        server, calling = await self.waiting(sv, upstream, project_key["value"], stream=False)
        for call in list(sv.calls):
            call.end(Unavailable(SHUTTING_DOWN))
        await calling
        assert b"shutting down" in server.body
        assert ending(await logged.row(sv)) == ("failed", 503, True)

    async def test_a_call_that_is_cancelled_is_recorded(
        self, sv: Services, upstream: Upstream, project_key: dict[str, Any]
    ) -> None:
        _, calling = await self.waiting(sv, upstream, project_key["value"], stream=False)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        assert ending(await logged.row(sv)) == ("failed", 500, True)
        assert sv.calls == set()


class TestAdminEndpoints:
    """What an engine offers to its operator is not reachable through us."""

    @pytest.mark.parametrize(
        "path",
        [
            "/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/load_lora_adapter", "/sleep", "/wake_up",
            "/is_sleeping", "/tokenize", "/detokenize", "/v1/tokenize", "/reset_prefix_cache", "/reset_mm_cache",
            "/collective_rpc", "/update_weights", "/pause", "/resume", "/invocations", "/server_info", "/pooling",
            "/classify", "/score", "/rerank", "/v1/embeddings", "/v1/responses", "/v1/messages", "/version", "/load",
            "/start_profile", "/stop_profile", "/abort_requests", "/inference/v1/generate", "/v1/../sleep", "/v1//sleep",
            "/v1/chat/completions/../../sleep", "//v1/chat/completions/render",
        ],
    )  # fmt: skip
    async def test_are_not_forwarded(
        self, path: str, client: httpx.AsyncClient, admin: httpx.AsyncClient, upstream: Upstream
    ) -> None:
        for caller in (client, admin):
            for method in ("GET", "POST"):
                reply = await caller.request(method, path, json=chat("echo") if method == "POST" else None)
                assert reply.status_code in (404, 405), (method, path, reply.text)
        assert upstream.paths == []

    async def test_nor_is_a_call_with_a_slash_too_many(self, client: httpx.AsyncClient, upstream: Upstream) -> None:
        reply = await client.post("/v1/chat/completions/", json=chat("echo"))
        assert reply.status_code in (404, 405)
        assert upstream.paths == []
