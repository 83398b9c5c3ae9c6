"""What is no HTTP, or two things at once: never two answers where one was meant, and nothing is asked of a model."""

import logging
from typing import Any

import pytest

from tests.fakes.upstream import Upstream
from tests.gateway.direct.conftest import Door
from tests.gateway.direct.raw_http import CHAT, Answer, body_of, request
from tests.polling import until

pytestmark = pytest.mark.anyio

HEAD = f"POST {CHAT} HTTP/1.1\r\nhost: gateway\r\n".encode()
HIDDEN = f"POST {CHAT} HTTP/1.1\r\nhost: gateway\r\ncontent-length: 0\r\n\r\n".encode()
GARBAGE = {
    "noise": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "words": b"hello, is anybody there?\r\n\r\n",
    "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "http9": b"POST /v1/chat/completions HTTP/9.9\r\n\r\n",
    "method": b"BREW /v1/chat/completions HTTP/1.1\r\n\r\n",
    "nul in method": b"PO\0ST /v1/chat/completions HTTP/1.1\r\n\r\n",
    "nul in url": b"POST /v1/chat\0/completions HTTP/1.1\r\n\r\n",
    "nul in header": HEAD + b"a: b\0c\r\n\r\n",
    "space in url": b"POST /v1/chat completions HTTP/1.1\r\n\r\n",
    "url in Latin": b"GET /\xe9 HTTP/1.1\r\n\r\n",
    "connect": b"CONNECT example.com:443 HTTP/1.1\r\nhost: example.com\r\n\r\n",
    "connect to a url": b"CONNECT http://example.com/a HTTP/1.1\r\nhost: example.com\r\n\r\n",
    "space before colon": HEAD + b"content-length : 5\r\n\r\nhello",
    "header without name": HEAD + b": b\r\n\r\n",
    "header without colon": HEAD + b"hello\r\n\r\n",
}
SMUGGLED = {
    "length and chunks": HEAD + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "chunks and length": HEAD + b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n" + HIDDEN,
    "two lengths": HEAD + b"content-length: 0\r\ncontent-length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "the same length twice": HEAD + b"content-length: 5\r\ncontent-length: 5\r\n\r\nhello" + HIDDEN,
    "list of lengths": HEAD + b"content-length: 0, %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "signed length": HEAD + b"content-length: +5\r\n\r\nhello" + HIDDEN,
    "negative length": HEAD + b"content-length: -5\r\n\r\nhello" + HIDDEN,
    "hexadecimal length": HEAD + b"content-length: 0x5\r\n\r\nhello" + HIDDEN,
    "enormous length": HEAD + b"content-length: 18446744073709551621\r\n\r\nhello" + HIDDEN,
    "chunks twice": HEAD + b"transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n" + HIDDEN,
    "not chunked at last": HEAD + b"transfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n" + HIDDEN,
    "nearly chunked": HEAD + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "folded": HEAD + b"transfer-encoding:\r\n chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n" + HIDDEN,
    "folded value": HEAD + b"a: b\r\n c\r\ncontent-length: 0\r\n\r\n" + HIDDEN,
    "line feeds": HEAD.replace(b"\r", b"") + b"content-length: 0\n\n" + HIDDEN,
    "one line feed": HEAD + b"a: b\ncontent-length: 0\r\n\r\n" + HIDDEN,
    "a carriage return": HEAD + b"a: b\rcontent-length: 0\r\n\r\n" + HIDDEN,
    "chunk without size": HEAD + b"transfer-encoding: chunked\r\n\r\n\r\n" + HIDDEN,
    "chunk of a negative size": HEAD + b"transfer-encoding: chunked\r\n\r\n-1\r\nhello" + HIDDEN,
    "chunk longer than it says": HEAD + b"transfer-encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n" + HIDDEN,
    "chunk of an enormous size": HEAD + b"transfer-encoding: chunked\r\n\r\n10000000000000005\r\nhello" + HIDDEN,
    "chunks that end in line feeds": HEAD + b"transfer-encoding: chunked\r\n\r\n0\n\n" + HIDDEN,
}


def assert_refused(answer: Answer) -> None:
    assert (answer.status, answer.headers["connection"]) == (400, "close")
    assert answer.headers["content-type"] == "application/json"
    assert answer.error["type"] == "invalid_request_error"


class TestGarbage:
    @pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
    async def test_gets_one_answer(self, garbage: bytes, door: Door) -> None:
        client = await door.client()
        assert_refused(await client.ask(garbage))
        client.write(b"x" * 300_000)
        assert await client.rest() == b""

    async def test_starts_nothing(self, door: Door, caplog: pytest.LogCaptureFixture) -> None:
        client = await door.client()
        assert_refused(await client.ask(GARBAGE["connect to a url"]))
        assert not door.tasks
        assert caplog.records == []

    @pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
    async def test_a_byte_at_a_time(self, garbage: bytes, door: Door) -> None:
        client, protocol = await door.pair()
        for byte in garbage + b"x" * 20:
            if protocol.transport.get_protocol() is protocol:
                protocol.data_received(bytes([byte]))
        assert_refused(await client.answer())
        assert await client.rest() == b""

    async def test_of_before_there_were_versions(self, door: Door) -> None:
        client = await door.client()
        answer = await client.ask(b"POST /v1/chat/completions\r\n\r\n" + HIDDEN)
        assert (answer.status, answer.headers["connection"]) == (401, "close")
        assert await client.rest() == b""

    async def test_behind_a_request_is_not_answered_in_its_place(self, door: Door, upstream: Upstream) -> None:
        client = await door.client()
        client.write(request(door.key, body_of(content="good")) + GARBAGE["noise"])
        answer = await client.answer()
        assert (answer.status, answer.text, answer.headers["connection"]) == (200, "good", "close")
        assert await client.rest() == b""
        assert len(upstream.requests) == 1

    async def test_in_the_middle_of_a_stream(self, door: Door, upstream: Upstream) -> None:
        client = await door.client()
        client.write(request(door.key, body_of("gated", stream=True)))
        await client.head()
        client.write(GARBAGE["noise"] * 3)
        assert b"one" in await client.chunk()
        upstream.release.set()
        rest = await client.rest()
        assert rest.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
        assert b"HTTP/1.1" not in rest

    @pytest.mark.parametrize("through", [{}, {"cookie": "a=b"}], ids=["direct", "asgi"])
    async def test_in_its_own_body(self, through: dict[str, str], door: Door, upstream: Upstream) -> None:
        """Also where the application waits for that body already."""
        client, protocol = await door.pair()
        data = request(door.key, b'5\r\n{"mod\r\nnonsense', transfer_encoding="chunked", **through)
        client.write(data[:-8])
        await _until_read(door, protocol, through)
        client.write(data[-8:])
        assert_refused(await client.answer())
        assert await client.rest() == b""
        assert upstream.requests == []


async def _until_read(door: Door, protocol: Any, through: dict[str, str]) -> None:
    await until(lambda: protocol.cycle is not None and (not through or (protocol.cycle.body == b"" and door.tasks)))


class TestSmuggling:
    @pytest.mark.parametrize("data", SMUGGLED.values(), ids=SMUGGLED.keys())
    async def test_is_one_refusal(self, data: bytes, door: Door, upstream: Upstream) -> None:
        client = await door.client()
        assert_refused(await client.ask(data))
        assert await client.rest() == b""
        assert upstream.requests == []

    @pytest.mark.parametrize("data", SMUGGLED.values(), ids=SMUGGLED.keys())
    async def test_behind_a_good_request(self, data: bytes, door: Door, upstream: Upstream) -> None:
        client = await door.client()
        client.write(request(door.key) + data)
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert await client.rest() == b""
        assert len(upstream.requests) == 1


class TestOurOwnHeaders:
    async def test_cannot_split_a_response(
        self, door: Door, upstream: Upstream, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Names are checked where they come from; should one slip through, there is no answer with it."""
        evil = {"x-tuneway-model": "a\r\ncontent-length: 0\r\n\r\nHTTP/1.1 200 OK"}
        monkeypatch.setattr("gateway.inference._headers", lambda *_: evil)
        caplog.set_level(logging.CRITICAL)
        client = await door.client()
        answer = await client.ask(request(door.key))
        assert answer.status == 500
        assert answer.error["type"] == "server_error"
        assert "x-tuneway-model" not in answer.headers
        client.write(request(door.key, None, cookie="a=b"))
        assert await client.rest() == b""
