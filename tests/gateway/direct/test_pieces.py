"""Requests however they are cut, and several on one connection."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.fakes.upstream import Upstream
from tests.gateway.direct.conftest import Door
from tests.gateway.direct.raw_http import Client, body_of, chunked, request
from tests.polling import until

pytestmark = pytest.mark.anyio


class TestPieces:
    async def test_a_request_that_is_cut_at_any_byte(self, door: Door) -> None:
        client, protocol = await door.pair()
        for cut in range(1, len(request(door.key))):
            data = request(door.key, body_of(content=f"cut {cut:04}"))
            protocol.data_received(data[:cut])
            protocol.data_received(data[cut:])
            assert (await client.answer()).text == f"cut {cut:04}"

    async def test_a_byte_at_a_time(self, door: Door) -> None:
        client, protocol = await door.pair()
        for byte in request(door.key, body_of(content="one by one")):
            protocol.data_received(bytes([byte]))
        assert (await client.answer()).text == "one by one"

    @pytest.mark.parametrize("size", [1, 7, 1000])
    async def test_a_body_in_chunks(self, size: int, door: Door) -> None:
        client, protocol = await door.pair()
        body = chunked(body_of(content="in chunks"), size)
        assert (await client.ask(request(door.key, body, transfer_encoding="chunked"))).text == "in chunks"
        for byte in request(door.key, body, transfer_encoding="chunked"):
            protocol.data_received(bytes([byte]))
        assert (await client.answer()).text == "in chunks"

    async def test_what_follows_a_body_is_no_header(self, door: Door) -> None:
        """Whoever checks requests on their way does not look there."""
        client, _ = await door.pair()
        body = chunked(body_of(), 10)
        late = body[:-2] + f"authorization: Bearer {door.key}\r\n\r\n".encode()
        assert (await client.ask(request(None, late, transfer_encoding="chunked"))).status == 401
        assert (await client.ask(request(None, late, url="/v1/models", transfer_encoding="chunked"))).status in (
            401,
            405,
        )
        assert (await client.ask(request(door.key, body, transfer_encoding="chunked"))).status == 200

    async def test_an_answer_to_each_of_a_thousand_on_one_connection(self, door: Door) -> None:
        client, protocol = await door.pair()
        for number in range(1000):
            answer = await client.ask(request(door.key, body_of(content=str(number))))
            assert (answer.status, answer.text) == (200, str(number))
            assert "connection" not in answer.headers
        assert door.connections == {protocol}
        assert door.server.server_state.total_requests == 1000


class TestPipelining:
    """Several requests in one write: answers in the order of the requests, each once."""

    def hot(self, door: Door, content: str, **more: Any) -> bytes:
        return request(door.key, body_of(content=content, **more))

    @pytest.mark.parametrize(
        "kinds", ["hh", "ha", "ah", "aa", "hha", "hah", "ahh", "hhh", "aha", "hhhhhhhhahhhhhhhhhhhhhhh"]
    )
    async def test_answers_come_in_order(self, kinds: str, door: Door, upstream: Upstream) -> None:
        def sent(number: int, kind: str) -> bytes:
            through_asgi = request(door.key, method="GET", url=f"/v1/models/{number}")
            return self.hot(door, str(number)) if kind == "h" else through_asgi

        client = await door.client()
        client.write(b"".join(sent(number, kind) for number, kind in enumerate(kinds)))
        for number, kind in enumerate(kinds):
            answer = await client.answer()
            if kind == "h":
                assert (answer.status, answer.text) == (200, str(number))
            else:
                assert answer.status == 404
                assert f"`{number}`" in answer.error["message"]
        assert len(upstream.requests) == kinds.count("h")
        assert (await client.ask(self.hot(door, "after"))).text == "after"

    @pytest.mark.parametrize("first", ["chat", "models"])
    async def test_a_request_that_is_cut_behind_another(self, first: str, door: Door) -> None:
        before = self.hot(door, "before") if first == "chat" else request(door.key, method="GET", url="/v1/models")
        behind = self.hot(door, "behind")
        client, protocol = await door.pair()
        for cut in range(1, len(behind), 7):
            protocol.data_received(before + behind[:cut])
            assert (await client.answer()).status == 200
            protocol.data_received(behind[cut:])
            assert (await client.answer()).text == "behind"

    async def test_a_stream_is_not_cut_by_what_waits_behind_it(self, door: Door, upstream: Upstream) -> None:
        client = await door.client()
        client.write(request(door.key, body_of("gated", stream=True)) + self.hot(door, "behind"))
        await client.head()
        assert b"one" in await client.chunk()
        assert len(upstream.requests) == 1
        upstream.release.set()
        chunks = [chunk async for chunk in _chunks(client)]
        assert chunks[-1].endswith(b"data: [DONE]\n\n")
        assert (await client.answer()).text == "behind"

    async def test_nothing_is_answered_after_the_last_one(self, door: Door, upstream: Upstream) -> None:
        client = await door.client()
        client.write(request(door.key, connection="close") + self.hot(door, "too late"))
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert await client.rest() == b""
        assert len(upstream.requests) == 1

    async def test_more_than_may_wait(self, door: Door) -> None:
        client = await door.client()
        client.write(b"".join(self.hot(door, str(number)) for number in range(100)))
        assert [(await client.answer()).text for _ in range(100)] == [str(number) for number in range(100)]


async def _chunks(client: Client) -> AsyncIterator[bytes]:
    while chunk := await client.chunk():
        yield chunk


class TestWays:
    """What is unusual about a request decides how it is read, not what is answered."""

    @pytest.mark.parametrize(
        "unusual",
        [
            {"url": "/v1/chat/completions?a=b"},
            {"url": "/v1/chat/c%6fmpletions"},
            {"url": "http://gateway/v1/chat/completions"},
            {"cookie": "a=b"},
            {"expect": "something-else"},
            {"upgrade": "websocket"},
            {"upgrade": "h2c", "connection": "upgrade"},
            {"upgrade": "h2c", "connection": "Upgrade, HTTP2-Settings", "http2_settings": "AAMAAABkAAQAAP__"},
        ],
        ids=str,
    )
    async def test_through_asgi(self, unusual: dict[str, str], door: Door) -> None:
        client = await door.client()
        for content in ("first", "second"):
            answer = await client.ask(request(door.key, body_of(content=content), **unusual))
            assert (answer.status, answer.text) == (200, content)
            assert "connection" not in answer.headers
        answer = await client.ask(request(door.key, body_of(content="third")))
        assert (answer.status, answer.text) == (200, "third")

    async def test_an_upgrade_that_is_cut_at_any_byte(self, door: Door) -> None:
        client, protocol = await door.pair()
        data = request(door.key, body_of(content="h2c"), upgrade="h2c", connection="upgrade")
        for cut in range(1, len(data), 3):
            protocol.data_received(data[:cut])
            protocol.data_received(data[cut:])
            assert (await client.answer()).text == "h2c"
        client.write(data + data + request(door.key))
        assert [(await client.answer()).text for _ in range(3)] == ["h2c", "h2c", "hello"]

    async def test_http_1_0(self, door: Door) -> None:
        client = await door.client()
        answer = await client.ask(request(door.key, version="1.0"))
        assert (answer.status, answer.text, answer.headers["connection"]) == (200, "hello", "close")
        assert await client.rest() == b""

    async def test_close(self, door: Door) -> None:
        client = await door.client()
        answer = await client.ask(request(door.key, connection="close"))
        assert (answer.status, answer.text, answer.headers["connection"]) == (200, "hello", "close")
        assert await client.rest() == b""

    async def test_a_stream_that_is_the_last(self, door: Door) -> None:
        client = await door.client()
        answer = await client.ask(request(door.key, body_of(stream=True), connection="close"))
        assert answer.headers["connection"] == "close"
        assert answer.body.endswith(b"data: [DONE]\n\n")
        assert await client.rest() == b""

    async def test_continue(self, door: Door) -> None:
        """The body is sent once the server has said that it wants it."""
        client = await door.client()
        body = body_of(content="continued")
        for _ in range(2):
            client.write(request(door.key, body, expect="100-continue")[: -len(body)])
            assert (await client.head()).status == 100
            assert (await client.ask(body)).text == "continued"
        client.write(request(None, body, expect="100-continue")[: -len(body)])
        await until(lambda: door.tasks)
        assert (await client.head()).status == 100
        assert (await client.ask(body)).status == 401
