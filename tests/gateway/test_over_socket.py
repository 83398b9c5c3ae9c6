"""A real gateway process: clients that leave, the official SDK, and processes that end in every way."""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest

from gateway.db.tables import ExchangeRow
from gateway.routes.usage import NOT_PRODUCED
from tests.conftest import ADMIN_KEY, chat
from tests.fakes.upstream import WORDS, Upstream
from tests.gateway.conftest import RunningGateway, StartGateway
from tests.polling import until

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
HELLO: Any = [{"role": "user", "content": "hello"}]


@pytest.fixture
async def caller(running_gateway: RunningGateway) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(running_gateway) as client:
        yield client


def client_of(gateway: RunningGateway) -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {gateway.key['value']}"}
    return httpx.AsyncClient(base_url=gateway.url, headers=headers, timeout=30)


def sdk_of(gateway: RunningGateway, *, strict: bool = False, admin: bool = False) -> openai.AsyncOpenAI:
    key = {"admin_api_key": ADMIN_KEY} if admin else {"api_key": gateway.key["value"]}
    return openai.AsyncOpenAI(
        base_url=f"{gateway.url}/v1", max_retries=0, timeout=30, _strict_response_validation=strict, **key
    )


async def row_of(gateway: RunningGateway, id: str) -> ExchangeRow:
    """The exchange with that id, as soon as it is in the database."""
    found: list[ExchangeRow] = []

    async def arrived() -> bool:
        found[:] = [row for row in await gateway.rows() if row.id == id]
        return bool(found)

    await until(arrived)
    assert len(found) == 1
    return found[0]


class TestLeaving:
    async def test_a_stream_that_nobody_reads_is_hung_up_and_metered(
        self, running_gateway: RunningGateway, caller: httpx.AsyncClient, upstream: Upstream
    ) -> None:
        async with caller.stream("POST", CHAT, json=chat("endless", stream=True)) as answer:
            id = answer.headers["x-request-id"]
            pieces = answer.aiter_text()
            text = ""
            while text.count("more") < 3:
                text += await anext(pieces)
        await until(upstream.hung_up.is_set)
        row = await row_of(running_gateway, id)
        assert (row.outcome, row.status, row.error) == ("client_left", 200, None)
        assert (row.output_tokens or 0) > 0
        assert (row.cost_nano or 0) > 0
        assert json.loads(row.reply or b"")["choices"][0]["message"]["content"].startswith("more more more")

    async def test_before_the_first_byte_of_a_stream(self, running_gateway: RunningGateway, upstream: Upstream) -> None:
        before = len(await running_gateway.rows())
        async with client_of(running_gateway) as caller:
            call = asyncio.ensure_future(caller.post(CHAT, json=chat("slow", stream=True)))
            await until(lambda: upstream.requests)
            call.cancel()
            await asyncio.wait([call])
        upstream.release.set()
        await until_rows(running_gateway, before + 1)
        row = (await running_gateway.rows())[-1]
        assert (row.requested_model, row.input_tokens, row.output_tokens) == ("slow", 12, 4)

    async def test_while_waiting_for_a_whole_reply(self, running_gateway: RunningGateway, upstream: Upstream) -> None:
        """The upstream has done the work: it is logged and paid like any other."""
        before = len(await running_gateway.rows())
        async with client_of(running_gateway) as caller:
            call = asyncio.ensure_future(caller.post(CHAT, json=chat("slow")))
            await until(lambda: upstream.requests)
            call.cancel()
            await asyncio.wait([call])
        upstream.release.set()
        await until_rows(running_gateway, before + 1)
        row = (await running_gateway.rows())[-1]
        assert (row.requested_model, row.input_tokens, row.output_tokens) == ("slow", 12, 4)

    @pytest.mark.parametrize("stream", [False, True])
    async def test_while_a_retry_is_waited_for(
        self, stream: bool, running_gateway: RunningGateway, upstream: Upstream
    ) -> None:
        """Nobody is there to answer, so nobody is asked again: long before the wait is over, it ends."""
        name = f"patient-{stream}"
        wait = {"count": 1, "backoff_ms": 60_000, "max_backoff_ms": 60_000}
        await make_route(running_gateway, name=name, targets=[{"model": "bare-500"}], retries=wait)
        before = len(await running_gateway.rows())
        async with client_of(running_gateway) as caller:
            call = asyncio.ensure_future(caller.post(CHAT, json=chat(name, stream=stream)))
            await until(lambda: upstream.requests)
            await asyncio.sleep(0.1)
            assert not call.done()
            call.cancel()
            await asyncio.wait([call])
        await until_rows(running_gateway, before + 1)
        row = (await running_gateway.rows())[-1]
        assert (row.requested_model, row.outcome, row.route) == (name, "client_left", f"{name}@1")
        assert (len(upstream.requests), row.error, row.input_tokens) == (1, None, None)
        assert "Traceback" not in running_gateway.log

    async def test_in_the_middle_of_its_own_request(self, running_gateway: RunningGateway) -> None:
        before = len(await running_gateway.rows())
        _, writer = await asyncio.open_connection("127.0.0.1", running_gateway.port)
        writer.write(f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{{".encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        async with client_of(running_gateway) as caller:
            assert (await caller.post(CHAT, json=chat("echo"))).status_code == 200
        await until_rows(running_gateway, before + 1)
        assert "Traceback" not in running_gateway.log


async def make_route(gateway: RunningGateway, **spec: Any) -> None:
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    async with httpx.AsyncClient(base_url=gateway.url, headers=headers, timeout=30) as admin:
        answer = await admin.post("/v1/routes", json=spec)
    assert answer.status_code == 200, answer.text


class TestFallingBack:
    async def test_is_seen_in_the_headers_alone(
        self, running_gateway: RunningGateway, caller: httpx.AsyncClient
    ) -> None:
        target, fallback = [{"model": "cut-before"}], [{"model": "echo"}]
        await make_route(running_gateway, name="steady", targets=target, fallbacks=fallback, retries={"count": 0})
        async with sdk_of(running_gateway, strict=True) as sdk:
            raw = await sdk.chat.completions.with_raw_response.create(model="steady", messages=HELLO)
            assert raw.parse().choices[0].message.content == "hello"
            stream = await sdk.chat.completions.create(model="steady", messages=HELLO, stream=True)
            assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "".join(WORDS)
        seen = {name: raw.headers[f"x-tuneway-{name}"] for name in ("model", "route", "fallback", "attempts")}
        assert seen == {"model": "echo", "route": "steady@1", "fallback": "connection", "attempts": "2"}
        off = await caller.post(CHAT, json=chat("steady"), headers={"x-tuneway-fallback": "off"})
        assert off.status_code == 502


async def until_rows(gateway: RunningGateway, count: int) -> None:
    async def arrived() -> bool:
        return len(await gateway.rows()) >= count

    await until(arrived)


@pytest.mark.parametrize("strict", [False, True], ids=["lenient", "strict"])
class TestOfficialSdk:
    async def test_chats(self, strict: bool, running_gateway: RunningGateway) -> None:
        async with sdk_of(running_gateway, strict=strict) as sdk:
            reply = await sdk.chat.completions.create(model="echo", messages=HELLO)
            assert reply.choices[0].message.content == "hello"
            assert reply.usage is not None
            assert reply.usage.prompt_tokens == 12
            assert (await row_of(running_gateway, reply._request_id or "")).reply_id == reply.id

    async def test_streams(self, strict: bool, running_gateway: RunningGateway) -> None:
        async with sdk_of(running_gateway, strict=strict) as sdk:
            stream = await sdk.chat.completions.create(model="echo", messages=HELLO, stream=True)
            chunks = [chunk async for chunk in stream]
            assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "".join(WORDS)
            assert all(chunk.usage is None for chunk in chunks)
            stream = await sdk.chat.completions.create(
                model="echo", messages=HELLO, stream=True, stream_options={"include_usage": True}
            )
            last = [chunk async for chunk in stream][-1]
            assert (last.choices, last.usage and last.usage.total_tokens) == ([], 16)

    async def test_lists_models(self, strict: bool, running_gateway: RunningGateway) -> None:
        async with sdk_of(running_gateway, strict=strict) as sdk:
            names = {model.id async for model in sdk.models.list()}
            assert "echo" in names
            assert (await sdk.models.retrieve("echo")).owned_by == "fake"

    async def test_errors_are_its_own(self, strict: bool, running_gateway: RunningGateway) -> None:
        async with sdk_of(running_gateway, strict=strict) as sdk:
            with pytest.raises(openai.NotFoundError) as unknown:
                await sdk.chat.completions.create(model="nothing", messages=HELLO)
            assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
            assert (unknown.value.request_id or "").startswith("req_")
            with pytest.raises(openai.RateLimitError):
                await sdk.chat.completions.create(model="status-429", messages=HELLO)
            with pytest.raises(openai.AuthenticationError):
                await sdk.with_options(api_key="sk-wrong").models.list()
            stream = await sdk.chat.completions.create(model="error-midway", messages=HELLO, stream=True)
            with pytest.raises(openai.APIError, match="it broke"):
                _ = [chunk async for chunk in stream]

    async def test_reads_usage_and_costs(self, strict: bool, running_gateway: RunningGateway) -> None:
        async with sdk_of(running_gateway, strict=strict) as sdk:
            reply = await sdk.chat.completions.create(model="echo", messages=HELLO)
            await row_of(running_gateway, reply._request_id or "")
        async with sdk_of(running_gateway, strict=strict, admin=True) as sdk:
            usage = sdk.admin.organization.usage
            start = int(time.time()) - 3 * 86400
            page = await usage.completions(
                start_time=start, group_by=["model", "project_id"], bucket_width="1d", limit=31
            )
            found = {result.model: result for result in page.data[-1].results}  # type: ignore[union-attr]
            assert found["echo"].project_id == running_gateway.key["project_id"]
            assert found["echo"].input_tokens == 12 * found["echo"].num_model_requests
            costs = await usage.costs(start_time=start, limit=1)
            pages = 1
            while costs.next_page:
                costs = await usage.costs(start_time=start, limit=1, page=costs.next_page)
                pages += 1
            assert pages == 4
            assert costs.data[-1].results[0].amount.value > 0  # type: ignore[union-attr]

    async def test_reads_every_usage_that_openai_has(self, strict: bool, running_gateway: RunningGateway) -> None:
        async with sdk_of(running_gateway, strict=strict, admin=True) as sdk:
            start = int(time.time()) - 3 * 86400
            for name in ("embeddings", "moderations", *NOT_PRODUCED):
                page = await getattr(sdk.admin.organization.usage, name)(start_time=start, group_by=["project_id"])
                assert [bucket.results for bucket in page.data] == [[]] * 4, name


class TestEnding:
    async def test_a_stream_is_finished_first(self, start_gateway: StartGateway, upstream: Upstream) -> None:
        gateway = await asyncio.to_thread(start_gateway)
        async with client_of(gateway) as caller, caller.stream("POST", CHAT, json=chat("gated", stream=True)) as answer:
            pieces = answer.aiter_text()
            text = ""
            while "two" not in text:
                text += await anext(pieces)
            gateway.terminate()
            await until(lambda: "Shutting down" in gateway.log)
            upstream.release.set()
            text += "".join([piece async for piece in pieces])
        assert text.endswith("data: [DONE]\n\n")
        assert await asyncio.to_thread(gateway.wait) == 0
        (row,) = await gateway.rows()
        assert (row.id, row.outcome, row.output_tokens) == (answer.headers["x-request-id"], "completed", 4)
        assert list((gateway.directory / "spool").iterdir()) == []

    async def test_calls_that_take_too_long_are_ended_and_recorded(
        self, start_gateway: StartGateway, upstream: Upstream
    ) -> None:
        gateway = await asyncio.to_thread(start_gateway, timeouts__finish="0.2")
        async with client_of(gateway) as caller:
            whole = asyncio.ensure_future(caller.post(CHAT, json=chat("slow")))
            async with caller.stream("POST", CHAT, json=chat("endless", stream=True)) as answer:
                pieces = answer.aiter_text()
                text = await anext(pieces)
                await until(lambda: len(upstream.requests) == 2)
                gateway.terminate()
                text += "".join([piece async for piece in pieces])
            assert (await whole).status_code == 503
        assert json.loads(text.strip().split("\n\n")[-1].removeprefix("data: "))["error"]["type"] == "server_error"
        assert await asyncio.to_thread(gateway.wait) == 0
        rows = {row.requested_model: row for row in await gateway.rows()}
        assert {name: (row.outcome, row.status) for name, row in rows.items()} == {
            "slow": ("failed", 503),
            "endless": ("failed", 200),
        }
        assert (rows["endless"].cost_nano or 0) > 0

    async def test_interrupted_in_a_terminal_it_says_nothing_more(self, start_gateway: StartGateway) -> None:
        """Ctrl-C reaches each of its processes."""
        gateway = await asyncio.to_thread(start_gateway)
        async with client_of(gateway) as caller:
            assert (await caller.post(CHAT, json=chat("echo"))).status_code == 200
        os.killpg(gateway.pid, signal.SIGINT)
        assert await asyncio.to_thread(gateway.wait) == 0
        assert "Traceback" not in gateway.log
        assert len(await gateway.rows()) == 1

    async def test_kill_loses_nothing_that_a_client_has_seen_end(
        self, start_gateway: StartGateway, upstream: Upstream
    ) -> None:
        """Not one exchange has reached the database when the process is killed."""
        gateway = await asyncio.to_thread(start_gateway, exchanges__drain_seconds="3600")
        seen: set[str] = set()
        async with client_of(gateway) as caller:
            calls = [asyncio.ensure_future(chat_once(caller, seen, stream=bool(n % 2))) for n in range(200)]
            await until(lambda: len(seen) >= 60)
            await asyncio.to_thread(gateway.kill)
            await asyncio.wait(calls)
        assert 60 <= len(seen) < 200
        assert await gateway.rows() == []
        await asyncio.to_thread(gateway.start)
        await until_logged(gateway, seen)
        async with client_of(gateway) as caller:
            assert (await caller.post(CHAT, json=chat("echo"))).status_code == 200

    async def test_two_hundred_chats_are_two_hundred_rows(
        self, start_gateway: StartGateway, upstream: Upstream
    ) -> None:
        gateway = await asyncio.to_thread(start_gateway)
        seen: set[str] = set()
        async with client_of(gateway) as caller:
            await asyncio.gather(*(chat_once(caller, seen, stream=bool(n % 2)) for n in range(200)))
        assert len(seen) == 200
        gateway.terminate()
        assert await asyncio.to_thread(gateway.wait) == 0
        rows = await gateway.rows()
        assert {row.id for row in rows} == seen
        assert len(rows) == 200
        assert sum(row.cost_nano or 0 for row in rows) == 200 * 82_000


async def chat_once(caller: httpx.AsyncClient, seen: set[str], *, stream: bool) -> None:
    """One chat; its id is in `seen` once its reply was complete."""
    try:
        answer = await caller.post(CHAT, json=chat("echo", stream=stream))
    except httpx.TransportError:  # killed
        return
    whole = answer.text.endswith("data: [DONE]\n\n") if stream else bool(answer.json())
    assert whole
    seen.add(answer.headers["x-request-id"])


async def until_logged(gateway: RunningGateway, ids: set[str]) -> None:
    async def arrived() -> bool:
        return {row.id for row in await gateway.rows()} >= ids

    await until(arrived)
