"""Traces: the caller's is passed on, and calls become spans at a real OTLP receiver, without their words."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import msgspec
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from gateway import tracing
from gateway.exchanges.record import Record
from gateway.tracing import Traces, passed_on
from tests.conftest import ADMIN_KEY, chat
from tests.fakes.upstream import Upstream
from tests.gateway.conftest import RunningGateway, StartGateway
from tests.polling import until

CHAT = "/v1/chat/completions"
TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{CALLER}-01"
WORD = "blancmange"
"""Of a question; nothing that is exported may have it."""


class TestPassedOn:
    def test_a_trace_context_as_it_came(self) -> None:
        assert passed_on(PARENT.encode(), b"a=1,b=2") == {"traceparent": PARENT, "tracestate": "a=1,b=2"}
        assert passed_on(PARENT.encode(), b"") == {"traceparent": PARENT}
        assert passed_on(f"{PARENT}-later".encode(), b"") == {"traceparent": f"{PARENT}-later"}

    @pytest.mark.parametrize(
        "parent",
        [
            "", "x", PARENT[:-1], PARENT.upper(), f"ff-{TRACE}-{CALLER}-01", f"00-{'0' * 32}-{CALLER}-01",
            f"00-{TRACE}-{'0' * 16}-01", f"{PARENT}\r\nx: y", f"{PARENT}-\xff", f"{PARENT}-{'x' * 201}",
        ],
    )  # fmt: skip
    def test_nothing_that_is_none(self, parent: str) -> None:
        assert passed_on(parent.encode(), b"a=1") == {}

    @pytest.mark.parametrize("state", [b"\xff", b"a" * 513, b"a\r\nb: c"])
    def test_no_state_that_could_harm(self, state: bytes) -> None:
        assert passed_on(PARENT.encode(), state) == {"traceparent": PARENT}


class TestTraces:
    def test_a_caller_decides_for_its_own(self) -> None:
        never, always = Traces(0.0), Traces(1.0)
        found = never.begin({"traceparent": PARENT, "tracestate": "a=1"})
        assert found is not None
        assert (f"{found.trace_id:032x}", f"{found.parent_id:016x}", found.state) == (TRACE, CALLER, "a=1")
        assert always.begin({"traceparent": f"{PARENT[:-2]}00"}) is None

    def test_the_others_by_chance(self) -> None:
        assert Traces(0.0).begin({}) is None
        found = Traces(1.0).begin({})
        assert found is not None
        assert found.parent_id is None
        half = Traces(0.5)
        assert 400 < sum(half.begin({}) is not None for _ in range(1000)) < 600

    def test_what_nobody_fetches_is_dropped(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tracing, "MOST_WAITING", 3)
        traces = Traces(1.0)
        trace = traces.begin({})
        assert trace is not None
        entry = msgspec.convert(
            ["req_1", 1.0, "p", "k", "/chat/completions", "m", "m", "u", False, "completed", 200, None, b"", None, None,
             None, None, None, False, None, False, 5.0, None, None, None],
            Record,
        )  # fmt: skip
        for _ in range(5):
            traces.ended(trace, entry, 0.0, None)
        assert (traces.dropped, len(traces.take(2)), len(traces.take(9))) == (2, 2, 1)


@dataclass
class Receiver:
    """What came."""

    url: str = ""
    status: int = 200
    bodies: list[bytes] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)

    def spans(self) -> list[Span]:
        requests = [ExportTraceServiceRequest.FromString(body) for body in list(self.bodies)]
        return [span for each in requests for r in each.resource_spans for s in r.scope_spans for span in s.spans]

    def of(self, request_id: str) -> tuple[Span, list[Span]] | None:
        """The span of a call and those below it."""
        every = self.spans()
        found = [each for each in every if attributes(each).get("tuneway.request_id") == request_id]
        return (found[0], [each for each in every if each.parent_span_id == found[0].span_id]) if found else None


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """An OTLP receiver over HTTP."""
    received = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if received.status == 200:
                received.bodies.append(body)
                received.paths.append(self.path)
                received.keys.append(self.headers["x-key"])
            self.send_response(received.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        received.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield received
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def traced(start_gateway: StartGateway, receiver: Receiver) -> RunningGateway:
    return start_gateway(
        telemetry__otlp_endpoint=receiver.url,
        telemetry__export_seconds="0.05",
        config='[telemetry]\nservice_name = "front"\nheaders = { "x-key" = "sesame" }\n',
    )


def attributes(span: Span) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for each in span.attributes:
        kind = each.value.WhichOneof("value")
        value = getattr(each.value, kind)
        found[each.key] = [item.string_value for item in value.values] if kind == "array_value" else value
    return found


async def call(gateway: RunningGateway, body: dict[str, Any], **headers: str) -> httpx.Response:
    headers["authorization"] = f"Bearer {gateway.key['value']}"
    async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as client:
        return await client.post(CHAT, json=body, headers=headers)


async def spans_of(receiver: Receiver, answer: httpx.Response) -> tuple[Span, list[Span]]:
    found: list[tuple[Span, list[Span]]] = []

    def arrived() -> bool:
        found[:] = [each for each in [receiver.of(answer.headers["x-request-id"])] if each]
        return bool(found)

    await until(arrived)
    return found[0]


@pytest.mark.anyio
class TestPassingOn:
    async def test_also_where_no_traces_are_asked_for(self, client: httpx.AsyncClient, upstream: Upstream) -> None:
        headers = {"traceparent": PARENT, "tracestate": "a=1"}
        for stream in (False, True):
            await client.post(CHAT, json=chat("echo", stream=stream), headers=headers)
        assert [each.get("traceparent") for each in upstream.headers] == [PARENT, PARENT]
        assert [each.get("tracestate") for each in upstream.headers] == ["a=1", "a=1"]

    async def test_nothing_where_there_is_nothing(self, client: httpx.AsyncClient, upstream: Upstream) -> None:
        await client.post(CHAT, json=chat("echo"), headers={"traceparent": "nonsense", "tracestate": "a=1"})
        assert not {"traceparent", "tracestate"} & set(upstream.headers[0])


@pytest.mark.anyio
class TestSpans:
    async def test_a_call_and_its_upstream(
        self, traced: RunningGateway, receiver: Receiver, upstream: Upstream
    ) -> None:
        body = chat("echo", messages=[{"role": "user", "content": WORD}])
        answer = await call(traced, body, traceparent=PARENT, tracestate="a=1")
        span, below = await spans_of(receiver, answer)
        assert (span.name, span.kind, span.trace_id.hex(), span.parent_span_id.hex()) == (
            "chat echo", Span.SPAN_KIND_SERVER, TRACE, CALLER,
        )  # fmt: skip
        told = attributes(span)
        assert {name: told[name] for name in told if name.startswith("gen_ai.")} == {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "echo",
            "gen_ai.response.model": "echo",
            "gen_ai.response.id": "chatcmpl-fake",
            "gen_ai.response.finish_reasons": ["stop"],
            "gen_ai.usage.input_tokens": 12,
            "gen_ai.usage.output_tokens": 4,
            "gen_ai.usage.cache_read.input_tokens": told["gen_ai.usage.cache_read.input_tokens"],
        }
        assert (told["tuneway.outcome"], told["server.address"]) == ("completed", "127.0.0.1")
        assert "error.type" not in told
        (one,) = below
        assert (one.kind, one.trace_id, one.name) == (Span.SPAN_KIND_CLIENT, span.trace_id, "chat echo")
        assert (
            span.start_time_unix_nano <= one.start_time_unix_nano <= one.end_time_unix_nano <= span.end_time_unix_nano
        )
        sent = upstream.headers[-1]
        assert sent["traceparent"] == f"00-{TRACE}-{one.span_id.hex()}-01"
        assert sent["tracestate"] == "a=1"

    async def test_go_where_the_settings_say_without_a_word(self, traced: RunningGateway, receiver: Receiver) -> None:
        answer = await call(traced, chat("echo", messages=[{"role": "user", "content": WORD}]))
        span, _ = await spans_of(receiver, answer)
        assert span.parent_span_id == b""
        assert (set(receiver.paths), set(receiver.keys)) == ({"/v1/traces"}, {"sesame"})
        assert WORD in answer.text
        assert not any(WORD.encode() in body for body in receiver.bodies)
        assert any(b"front" in body for body in receiver.bodies)

    async def test_a_stream_has_its_usage(self, traced: RunningGateway, receiver: Receiver) -> None:
        span, below = await spans_of(receiver, await call(traced, chat("echo", stream=True)))
        told = attributes(span)
        assert (told["gen_ai.usage.output_tokens"], told["gen_ai.response.finish_reasons"]) == (4, ["stop"])
        assert told["tuneway.first_token_ms"] > 0
        assert [each.end_time_unix_nano for each in below] == [span.end_time_unix_nano]

    async def test_every_try_is_seen_with_its_failure(self, traced: RunningGateway, receiver: Receiver) -> None:
        spec = {"name": "steady", "targets": [{"model": "bare-500"}], "fallbacks": [{"model": "echo"}]}
        spec["retries"] = {"count": 1, "backoff_ms": 1}
        async with httpx.AsyncClient(base_url=traced.url, headers={"authorization": f"Bearer {ADMIN_KEY}"}) as admin:
            (await admin.post("/v1/routes", json=spec)).raise_for_status()
        answer = await call(traced, chat("steady"))
        assert answer.status_code == 200, answer.text
        span, below = await spans_of(receiver, answer)
        assert (span.name, attributes(span).get("error.type")) == ("chat steady", None)
        assert [each.name for each in below] == ["chat bare-500", "chat bare-500", "chat echo"]
        assert [bool(attributes(each).get("error.type")) for each in below] == [True, True, False]

    async def test_a_call_that_failed_says_why(self, traced: RunningGateway, receiver: Receiver) -> None:
        answer = await call(traced, chat("nothing"))
        span, below = await spans_of(receiver, answer)
        assert (attributes(span)["error.type"], span.status.code, below) == ("model_not_found", 2, [])

    async def test_a_receiver_that_is_away_is_nobodys_trouble(self, start_gateway: StartGateway) -> None:
        gateway = await asyncio.to_thread(
            start_gateway, telemetry__otlp_endpoint="http://127.0.0.1:9", telemetry__timeout="0.2"
        )
        for _ in range(3):
            assert (await call(gateway, chat("echo"))).status_code == 200

        async def told() -> bool:
            async with httpx.AsyncClient(base_url=gateway.url) as anybody:
                return 'tuneway_traced_calls_total{outcome="failed"} 3.0' in (await anybody.get("/metrics")).text

        await until(told)
        gateway.terminate()
        assert await asyncio.to_thread(gateway.wait) == 0
