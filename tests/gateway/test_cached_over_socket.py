"""Kept answers from a real gateway process: to the official SDK and on the wire, also after a kill."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
import redis.asyncio

from gateway.reply_cache.shared import PREFIX
from tests.fakes.upstream import Upstream
from tests.gateway.conftest import RunningGateway, StartGateway
from tests.gateway.direct.raw_http import Client, body_of, request
from tests.polling import until

pytestmark = pytest.mark.anyio

MARK = "x-tuneway-cache"
CONFIG = """
[[routes]]
name = "kept"
targets = [{ model = "echo" }]
cache = { mode = "opt_in" }
"""
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "order_status",
        "parameters": {
            "type": "object",
            "properties": {"order": {"type": "integer"}},
            "required": ["order"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}


@pytest.fixture(scope="module")
def kept_config() -> dict[str, str]:
    """A Redis that is slow for once must not turn a hit into a miss."""
    return {"config": CONFIG, "cache__enabled": "true", "cache__answer_seconds": "10"}


@pytest.fixture(scope="module")
def gateway(start_gateway: StartGateway, kept_config: dict[str, str]) -> RunningGateway:
    return start_gateway(**kept_config)


@pytest.fixture
async def sdk(gateway: RunningGateway) -> AsyncIterator[openai.AsyncOpenAI]:
    async with sdk_of(gateway) as sdk:
        yield sdk


def sdk_of(gateway: RunningGateway) -> openai.AsyncOpenAI:
    """Holds every object against the SDK's own types."""
    return openai.AsyncOpenAI(
        base_url=f"{gateway.url}/v1",
        api_key=gateway.key["value"],
        max_retries=0,
        timeout=30,
        _strict_response_validation=True,
    )


def said(text: str) -> Any:
    return [{"role": "user", "content": text}]


async def ask(sdk: openai.AsyncOpenAI, text: str, mark: str | None = None, **more: Any) -> tuple[str | None, Any]:
    """What the header says of the answer, and the answer; with temperature 0 unless told."""
    given: Any = {"model": "echo", "messages": said(text), "temperature": 0} | more
    raw = await sdk.chat.completions.with_raw_response.create(**given, extra_headers={MARK: mark} if mark else {})
    return raw.headers.get(MARK), raw.parse()


class TestOfficialSdk:
    async def test_a_miss_then_hits(self, sdk: openai.AsyncOpenAI, upstream: Upstream) -> None:
        (first, whole), (second, again), (third, _) = [await ask(sdk, "what is kept?") for _ in range(3)]
        assert (first, second, third) == ("miss", "hit", "hit")
        assert again.choices == whole.choices
        assert again.usage == whole.usage
        assert again.id != whole.id
        assert again.choices[0].message.content == "what is kept?"
        assert len(upstream.requests) == 1

    async def test_refresh_asks_anew_and_off_leaves_it_alone(self, sdk: openai.AsyncOpenAI, upstream: Upstream) -> None:
        marks = (None, "refresh", None, "off", None)
        found = [(await ask(sdk, "what is fresh?", mark))[0] for mark in marks]
        assert found == ["miss", "miss", "hit", None, "hit"]
        assert len(upstream.requests) == 3

    async def test_a_route_whose_calls_opt_in(self, sdk: openai.AsyncOpenAI, upstream: Upstream) -> None:
        found = [(await ask(sdk, "who opts in?", mark, model="kept"))[0] for mark in (None, "on", "on", None)]
        assert found == [None, "miss", "hit", None]
        assert len(upstream.requests) == 3

    async def test_a_word_that_nobody_understands_is_its_bad_request(self, sdk: openai.AsyncOpenAI) -> None:
        with pytest.raises(openai.BadRequestError) as refused:
            await ask(sdk, "what?", "yes")
        assert refused.value.param == MARK

    async def test_the_log_tells_which_was_one(self, sdk: openai.AsyncOpenAI, gateway: RunningGateway) -> None:
        ids = [(await ask(sdk, "what is logged?"))[1]._request_id for _ in range(2)]
        rows: dict[str, Any] = {}

        async def arrived() -> bool:
            rows.update({row.id: row for row in await gateway.rows()})
            return rows.keys() >= set(ids)

        await until(arrived)
        asked, again = (rows[id] for id in ids)
        assert (asked.cache_hit, asked.input_tokens, asked.upstream) == (False, 12, "fake")
        assert asked.cost_nano > 0
        assert (again.cache_hit, again.input_tokens, again.upstream, again.cost_nano) == (True, None, None, 0)


class TestAccumulatedStreams:
    """The SDK's own helper puts a stream together again, and is strict about what is missing."""

    async def test_a_whole_answer_streamed(self, sdk: openai.AsyncOpenAI, upstream: Upstream) -> None:
        text = "The quick brown fox. " * 60
        _, whole = await ask(sdk, text)
        options: Any = {"include_usage": True}
        asked: Any = {"model": "echo", "messages": said(text), "temperature": 0, "stream_options": options}
        async with sdk.chat.completions.stream(**asked) as stream:
            pieces = [event.delta async for event in stream if event.type == "content.delta"]
            final = await stream.get_final_completion()
        assert "".join(pieces) == text
        assert len(pieces) > 3
        assert final.choices[0].message.content == text
        assert final.choices[0].finish_reason == whole.choices[0].finish_reason == "stop"
        assert final.usage == whole.usage
        assert len(upstream.requests) == 1

    async def test_calls_of_tools(self, sdk: openai.AsyncOpenAI, upstream: Upstream) -> None:
        asked: Any = {"model": "assistant", "messages": said("Where is order 77?"), "temperature": 0, "tools": [TOOL]}
        whole = await sdk.chat.completions.create(**asked)
        [called] = whole.choices[0].message.tool_calls or []
        async with sdk.chat.completions.stream(**asked) as stream:
            done = [event async for event in stream if event.type == "tool_calls.function.arguments.done"]
            final = await stream.get_final_completion()
        [replayed] = final.choices[0].message.tool_calls or []
        assert (replayed.id, replayed.function.name) == (called.id, "order_status")  # type: ignore[union-attr]
        assert json.loads(replayed.function.arguments) == {"order": 77}
        assert [each.name for each in done] == ["order_status"]
        assert final.choices[0].finish_reason == "tool_calls"
        assert len(upstream.requests) == 1

    async def test_a_streamed_answer_whole(self, sdk: openai.AsyncOpenAI, upstream: Upstream) -> None:
        asked: Any = {"model": "echo", "messages": said("streamed first"), "temperature": 0}
        async with sdk.chat.completions.stream(**asked) as stream:
            final = await stream.get_final_completion()
        mark, whole = await ask(sdk, "streamed first")
        assert mark == "hit"
        assert whole.choices[0].message.content == final.choices[0].message.content
        assert len(upstream.requests) == 1

    async def test_a_client_that_leaves_in_the_middle_harms_nobody(self, sdk: openai.AsyncOpenAI) -> None:
        text = "A long one. " * 15_000
        await ask(sdk, text)
        asked: Any = {"model": "echo", "messages": said(text), "temperature": 0, "stream": True}
        stream = await sdk.chat.completions.create(**asked)
        await anext(aiter(stream))
        await stream.close()
        mark, whole = await ask(sdk, text)
        assert (mark, whole.choices[0].message.content) == ("hit", text)


class TestOnTheWire:
    async def test_hits_leave_their_connection_usable(self, gateway: RunningGateway, upstream: Upstream) -> None:
        """A whole one, a streamed one, and calls behind each other in one piece: every answer in its turn."""
        key = gateway.key["value"]
        whole = request(key, body_of("echo", "on the wire", temperature=0))
        streamed = request(key, body_of("echo", "on the wire", temperature=0, stream=True))
        client = await Client.to(gateway.port)
        try:
            found = [await client.ask(each) for each in (whole, whole, streamed)]
            client.write(streamed + whole + streamed)
            found += [await client.answer() for _ in range(3)]
        finally:
            await client.close()
        assert [each.status for each in found] == [200] * 6
        assert [each.headers[MARK] for each in found] == ["miss", *["hit"] * 5]
        assert [each.text for each in (found[0], found[1], found[4])] == ["on the wire"] * 3
        assert "age" not in found[0].headers
        assert all(each.headers["age"].isdigit() for each in found[1:])
        for each in (found[2], found[3], found[5]):
            assert each.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert each.body.startswith(b"data: {")
            assert each.body.endswith(b"data: [DONE]\n\n")
        assert len({each.headers["x-request-id"] for each in found}) == 6
        assert len(upstream.requests) == 1


class TestKilled:
    async def test_what_redis_has_outlives_the_process(
        self, start_gateway: StartGateway, kept_config: dict[str, str], redis_url: str, upstream: Upstream
    ) -> None:
        gateway = await asyncio.to_thread(lambda: start_gateway(**kept_config))
        async with sdk_of(gateway) as sdk:
            assert (await ask(sdk, "who remembers?"))[0] == "miss"
        async with redis.asyncio.Redis.from_url(redis_url) as store:
            mine = f"{PREFIX}:of:{gateway.key['project_id']}"
            await until(lambda: store.exists(mine))
        await asyncio.to_thread(gateway.kill)
        await asyncio.to_thread(gateway.start)
        async with sdk_of(gateway) as sdk:
            mark, reply = await ask(sdk, "who remembers?")
        assert (mark, reply.choices[0].message.content) == ("hit", "who remembers?")
        assert len(upstream.requests) == 1
