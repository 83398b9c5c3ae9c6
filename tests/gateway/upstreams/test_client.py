"""The one door to upstreams: what it sends, and what each failure becomes."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.errors import (
    ModelLoading,
    Refusal,
    Unavailable,
    UpstreamFailed,
    UpstreamRefused,
    UpstreamTimeout,
    to_openai_error,
)
from gateway.protocol.routes import RouteTimeouts
from gateway.settings import TimeoutSettings
from gateway.upstreams import client as client_module
from gateway.upstreams.client import Door, UpstreamClient, UpstreamReply, Way
from tests.conftest import chat
from tests.fakes.upstream import Upstream
from tests.polling import until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def door() -> AsyncIterator[UpstreamClient]:
    client = UpstreamClient(TimeoutSettings(idle=5.0))
    yield client
    client.close()


async def send(door: UpstreamClient, upstream: Upstream, model: str, **more: Any) -> UpstreamReply:
    body = json.dumps(chat(model, **more)).encode()
    url = f"{upstream.url}/chat/completions"
    return await door.post("fake", url, body, api_key="sk-fake", request_id="req_1")


async def refusal_of(door: UpstreamClient, upstream: Upstream, model: str, **more: Any) -> Refusal:
    with pytest.raises(Refusal) as raised:
        await (await send(door, upstream, model, **more)).read()
    return raised.value


class TestPost:
    async def test_sends_the_body_the_key_and_the_request_id(self, door: UpstreamClient, upstream: Upstream) -> None:
        reply = await send(door, upstream, "echo", anything={"kept": 1})
        assert json.loads(await reply.read())["choices"][0]["message"]["content"] == "hello"
        sent = {name.lower(): value for name, value in upstream.headers[-1].items()}
        assert (sent["authorization"], sent["x-request-id"]) == ("Bearer sk-fake", "req_1")
        assert sent["content-type"] == "application/json"
        assert upstream.requests[-1]["anything"] == {"kept": 1}

    async def test_without_a_key_it_sends_none(self, door: UpstreamClient, upstream: Upstream) -> None:
        await (await door.post("fake", f"{upstream.url}/chat/completions", json.dumps(chat("echo")).encode())).read()
        assert "authorization" not in {name.lower() for name in upstream.headers[-1]}

    async def test_reads_a_stream_in_pieces(self, door: UpstreamClient, upstream: Upstream) -> None:
        reply = await send(door, upstream, "echo", stream=True)
        assert reply.is_stream
        assert b"".join([piece async for piece in reply.chunks()]).endswith(b"data: [DONE]\n\n")


class TestStatuses:
    @pytest.mark.parametrize("status", [400, 404, 409, 413, 422, 429])
    async def test_the_clients_mistakes_are_passed_on(
        self, status: int, door: UpstreamClient, upstream: Upstream
    ) -> None:
        refusal = await refusal_of(door, upstream, f"status-{status}")
        assert isinstance(refusal, UpstreamRefused)
        rendered, body, headers = to_openai_error(refusal)
        assert (rendered, headers) == (status, {"retry-after": "7"})
        assert json.loads(body)["error"] == {
            "message": f"upstream says status-{status}", "type": "some_type", "param": None, "code": "some_code"
        }  # fmt: skip

    @pytest.mark.parametrize("status", [401, 403])
    async def test_our_own_credentials_are_our_failure(
        self, status: int, door: UpstreamClient, upstream: Upstream
    ) -> None:
        refusal = await refusal_of(door, upstream, f"status-{status}")
        assert type(refusal) is UpstreamFailed
        assert str(refusal) == "The upstream `fake` refused this gateway's credentials."

    @pytest.mark.parametrize("status", [500, 502, 504, 529, 302])
    async def test_everything_else_is_a_failed_upstream(
        self, status: int, door: UpstreamClient, upstream: Upstream
    ) -> None:
        refusal = await refusal_of(door, upstream, f"status-{status}")
        assert (type(refusal), refusal.status) == (UpstreamFailed, 502)
        assert str(refusal) == f"The upstream `fake` answered {status}: upstream says status-{status}"
        assert refusal.headers == {"retry-after": "7"}

    async def test_a_model_that_loads_is_to_be_retried(self, door: UpstreamClient, upstream: Upstream) -> None:
        refusal = await refusal_of(door, upstream, "status-503")
        assert (type(refusal), str(refusal)) == (ModelLoading, "upstream says status-503")

    async def test_an_error_without_an_object_is_still_one(self, door: UpstreamClient, upstream: Upstream) -> None:
        refusal = await refusal_of(door, upstream, "bare-500")
        assert (type(refusal), str(refusal)) == (UpstreamFailed, "The upstream `fake` answered 500.")

    async def test_an_error_that_comes_in_pieces_is_read_whole(self, door: UpstreamClient) -> None:
        body = b'{"error": {"message": "in two pieces"}}'

        async def hesitate(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"{}")
            writer.write(f"HTTP/1.1 400 Bad Request\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body[:20])
            await writer.drain()
            await asyncio.sleep(0.02)
            writer.write(body[20:])
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(hesitate, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(UpstreamRefused, match="in two pieces"):
                await door.post("fake", f"http://127.0.0.1:{port}/v1", b"{}")


class TestHeaders:
    async def test_says_who_asks(self, door: UpstreamClient, upstream: Upstream) -> None:
        await (await send(door, upstream, "echo")).read()
        sent = {name.lower(): value for name, value in upstream.headers[-1].items()}
        assert sent["user-agent"].startswith("tuneway/")
        assert sent["accept-encoding"] == "identity"

    async def test_an_upstreams_own_win(self, door: UpstreamClient, upstream: Upstream) -> None:
        own = {"host": "models.example", "user-agent": "ours/1", "content-type": "application/json; v=2"}
        body, url = json.dumps(chat("echo")).encode(), f"{upstream.url}/chat/completions"
        await (await door.post("fake", url, body, way=Way(headers=own))).read()
        sent = [(name.lower(), value) for name, value in upstream.headers[-1].items()]
        assert set(own.items()) <= set(sent)
        assert len(sent) == len(dict(sent))

    async def test_a_calls_trace_is_sent_and_not_kept(self, door: UpstreamClient, upstream: Upstream) -> None:
        """It is another one each call, and what its upstream says wins."""
        way = Way({"x-own": "yes", "tracestate": "theirs"})
        kept = Door("fake", f"{upstream.url}/chat/completions", way)
        for number in range(3):
            trace = {"traceparent": f"00-{number}", "tracestate": "ours"} if number else {}
            reply = await door.send(kept, json.dumps(chat("echo")).encode(), f"req_{number}", RouteTimeouts(), trace)
            await reply.read()
            sent = {name.lower(): value for name, value in upstream.headers[-1].items()}
            assert sent.get("traceparent") == trace.get("traceparent")
            assert (sent["x-own"], sent["x-request-id"], sent["tracestate"]) == ("yes", f"req_{number}", "theirs")

    @pytest.mark.parametrize("end", ["\r\nx: y", "\n"])
    async def test_a_line_break_of_a_call_is_not_sent(self, door: UpstreamClient, upstream: Upstream, end: str) -> None:
        kept = Door("fake", f"{upstream.url}/chat/completions")
        for id, trace in ((f"req_1{end}", {}), ("req_1", {"tracestate": f"a{end}"})):
            with pytest.raises(UpstreamFailed):
                await door.send(kept, b"{}", id, RouteTimeouts(), trace)
        assert not upstream.headers

    async def test_a_line_break_in_one_is_not_sent(self, door: UpstreamClient, upstream: Upstream) -> None:
        with pytest.raises(UpstreamFailed):
            await door.post("fake", f"{upstream.url}/chat/completions", b"{}", way=Way(headers={"x": "a\r\ny: b"}))
        assert not upstream.headers

    async def test_an_error_whose_body_never_ends_is_told_by_its_status(
        self, door: UpstreamClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(client_module, "ERROR_BODY_SECONDS", 0.05)

        async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"{}")
            writer.write(b"HTTP/1.1 503 Not Now\r\ncontent-length: 99\r\n\r\n")
            await reader.read()
            writer.close()

        async with await asyncio.start_server(hang, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(ModelLoading):
                await door.post("fake", f"http://127.0.0.1:{port}/v1", b"{}")


class TestSecrets:
    @pytest.mark.parametrize("header", ["Bearer sk-0123456789", "Basic c2stMDEyMzQ1Njc4OTo=", "sk-0123456789"])
    async def test_that_a_provider_repeats_are_not_passed_on(
        self, header: str, door: UpstreamClient, upstream: Upstream
    ) -> None:
        body, url = json.dumps(chat("tells-key")).encode(), f"{upstream.url}/chat/completions"
        with pytest.raises(UpstreamRefused) as raised:
            await door.post("fake", url, body, way=Way(headers={"authorization": header}))
        assert str(raised.value) == f"what is {header.replace(header.split()[-1], '***')}?"


class TestConnections:
    async def test_a_body_that_is_cut(self, door: UpstreamClient, upstream: Upstream) -> None:
        refusal = await refusal_of(door, upstream, "cut")
        assert type(refusal) is UpstreamFailed
        assert "broke before its reply was complete" in str(refusal)

    async def test_a_connection_that_is_closed_without_an_answer(
        self, door: UpstreamClient, upstream: Upstream
    ) -> None:
        assert type(await refusal_of(door, upstream, "cut-before")) is UpstreamFailed

    async def test_a_stream_that_is_cut(self, door: UpstreamClient, upstream: Upstream) -> None:
        reply = await send(door, upstream, "cut", stream=True)
        with pytest.raises(UpstreamFailed):
            _ = [piece async for piece in reply.chunks()]
        reply.close()

    @pytest.mark.parametrize("url", ["http://127.0.0.1:1/v1", "http://name.invalid/v1"])
    async def test_nobody_there(self, url: str, door: UpstreamClient) -> None:
        with pytest.raises(UpstreamFailed, match="`fake` cannot be reached") as raised:
            await door.post("fake", url, b"{}")
        assert raised.value.code == "upstream_unreachable"

    @pytest.mark.parametrize("url", ["no url", "http://"])
    async def test_a_url_that_is_none(self, url: str, door: UpstreamClient) -> None:
        with pytest.raises(UpstreamFailed):
            await door.post("fake", url, b"{}")

    async def test_a_silent_upstream_times_out(self, upstream: Upstream) -> None:
        impatient = UpstreamClient(TimeoutSettings(idle=0.05))
        refusal = await refusal_of(impatient, upstream, "slow")
        upstream.release.set()
        impatient.close()
        assert (type(refusal), refusal.status) == (UpstreamTimeout, 504)

    async def test_something_that_does_not_speak_http(self, door: UpstreamClient) -> None:
        async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"\x00\x01 hello\r\n\r\n")
            writer.close()

        async with await asyncio.start_server(babble, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(UpstreamFailed):
                await door.post("fake", f"http://127.0.0.1:{port}/v1", b"{}")

    async def test_hanging_up_ends_a_pending_read_and_is_seen(self, door: UpstreamClient, upstream: Upstream) -> None:
        reply = await send(door, upstream, "endless", stream=True)

        async def read_on() -> None:
            async for _ in reply.chunks():
                reply.close()

        with pytest.raises(UpstreamFailed):
            await read_on()
        await until(upstream.hung_up.is_set)


class TestClose:
    async def test_ends_every_call_and_lets_none_begin(self, upstream: Upstream) -> None:
        door = UpstreamClient(TimeoutSettings())
        stream = await send(door, upstream, "endless", stream=True)
        half = await send(door, upstream, "gated", stream=True)
        waiting = asyncio.ensure_future(send(door, upstream, "slow"))
        await until(lambda: len(upstream.requests) == 3)
        reading = asyncio.ensure_future(half.read())
        door.close()
        with pytest.raises(UpstreamFailed):
            _ = [piece async for piece in stream.chunks()]
        with pytest.raises(UpstreamFailed):
            await reading
        for call in (waiting, send(door, upstream, "echo")):
            with pytest.raises(Unavailable, match="shutting down"):
                await call
        door.close()
        upstream.release.set()

    async def test_a_call_that_is_cancelled_stays_cancelled(self, door: UpstreamClient, upstream: Upstream) -> None:
        call = asyncio.ensure_future(send(door, upstream, "slow"))
        await until(lambda: upstream.requests)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        upstream.release.set()


class TestGet:
    async def test_maps_like_post(self, door: UpstreamClient, upstream: Upstream) -> None:
        with pytest.raises(UpstreamRefused) as raised:
            await door.get("fake", f"{upstream.url}/nothing")
        assert raised.value.upstream_status == 404
        with pytest.raises(UpstreamFailed, match="cannot be reached"):
            await door.get("fake", "http://127.0.0.1:1/")
