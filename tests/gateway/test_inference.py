"""The path of a call, in-process, in front of an upstream that fails on command."""

import json
from typing import Any

import httpx
import pytest

from gateway.db.tables import ExchangeRow
from gateway.errors import Unavailable
from gateway.exchanges import record
from gateway.exchanges.spool import Spool
from gateway.services import Services
from tests.conftest import chat
from tests.contract import conforms
from tests.fakes.upstream import WORDS, Upstream, usage
from tests.gateway import logged

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
COST_NANO = 8 * 5_000 + 4 * 500 + 4 * 10_000
"""12 input tokens, 4 of them cached, and 4 output tokens, at the prices of tests/conftest.py."""


def events(answer: httpx.Response) -> list[str]:
    """The payloads of a stream whose framing is exactly `data: <payload>`, a blank line."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.endswith("\n\n")
    frames = answer.text[:-2].split("\n\n")
    assert all(frame.startswith("data: ") and "\n" not in frame for frame in frames), frames
    return [frame.removeprefix("data: ") for frame in frames]


def chunks(answer: httpx.Response) -> list[dict[str, Any]]:
    """The chunks of a stream that ended with [DONE]."""
    *payloads, done = events(answer)
    assert done == "[DONE]"
    decoded = [json.loads(payload) for payload in payloads]
    for each in decoded:
        conforms("CreateChatCompletionStreamResponse", each)
    return decoded


def ending(row: ExchangeRow) -> tuple[str, int, bool]:
    return row.outcome, row.status, row.error is not None


def tokens(row: ExchangeRow) -> tuple[int | None, int | None, int | None, bool]:
    return row.input_tokens, row.cached_input_tokens, row.output_tokens, row.usage_estimated


class TestWhole:
    async def test_the_upstreams_bytes_are_the_answer(
        self, client: httpx.AsyncClient, upstream: Upstream, sv: Services
    ) -> None:
        answer = await client.post(CHAT, json=chat("echo"))
        row = await logged.row(sv)
        assert answer.content == row.reply
        conforms("CreateChatCompletionResponse", answer.json())
        assert answer.json()["choices"][0]["message"]["content"] == "hello"

    async def test_the_clients_bytes_are_the_request(
        self, client: httpx.AsyncClient, upstream: Upstream, sv: Services
    ) -> None:
        body = b'{"unknown":{"kept":[1.00]}, "model":"echo","messages":[{"role":"user","content":"\\u00e9"}]}'
        await client.post(CHAT, content=body)
        assert upstream.requests == [json.loads(body)]
        assert (await logged.row(sv)).request == body

    async def test_one_row_says_everything(
        self, client: httpx.AsyncClient, project_key: dict[str, Any], sv: Services
    ) -> None:
        answer = await client.post(CHAT, json=chat("echo", metadata={"team": "a"}))
        row = await logged.row(sv)
        assert row.id == answer.headers["x-request-id"]
        assert (row.project_id, row.api_key_id) == (project_key["project_id"], project_key["id"])
        assert (row.endpoint, row.requested_model, row.served_model) == ("/chat/completions", "echo", "echo")
        assert (row.upstream, row.streamed, row.reply_id) == ("fake", False, "chatcmpl-fake")
        assert ending(row) == ("completed", 200, False)
        assert tokens(row) == (12, 4, 4, False)
        assert (row.cost_nano, row.priced) == (COST_NANO, True)
        assert 0 < (row.upstream_ms or 0) <= row.duration_ms
        assert (row.first_token_ms, row.request_metadata) == (None, {"team": "a"})

    async def test_headers_say_who_served_it_and_what_it_cost(self, client: httpx.AsyncClient) -> None:
        headers = (await client.post(CHAT, json=chat("echo"))).headers
        assert headers["x-tuneway-model"] == "echo"
        assert headers["x-tuneway-cost"] == "0.000082"
        assert headers["openai-version"] == "2020-10-01"
        assert headers["openai-organization"] == "tuneway"
        assert int(headers["openai-processing-ms"]) >= 0
        assert headers["content-type"] == "application/json"

    async def test_a_model_without_a_price_is_seen(self, client: httpx.AsyncClient, sv: Services) -> None:
        answer = await client.post(CHAT, json=chat("unpriced"))
        row = await logged.row(sv)
        assert answer.headers["x-tuneway-cost"] == "unpriced"
        assert (row.priced, row.cost_nano, row.input_tokens) == (False, None, 12)
        assert b"tuneway_unpriced_calls_total 1.0" in sv.metrics.render()

    async def test_usage_that_is_never_told_is_estimated(self, client: httpx.AsyncClient, sv: Services) -> None:
        await client.post(CHAT, json=chat("no-usage"))
        row = await logged.row(sv)
        estimated = (-(-len(row.request) // 4), 0, 2, True)  # "hello"
        assert tokens(row) == estimated
        assert row.cost_nano

    async def test_text_completions_too(self, client: httpx.AsyncClient, sv: Services) -> None:
        answer = await client.post("/v1/completions", json={"model": "echo", "prompt": "hi"})
        assert answer.json()["choices"][0]["text"] == "hi"
        row = await logged.row(sv)
        assert (row.endpoint, row.cost_nano) == ("/completions", COST_NANO)

    async def test_the_upstream_gets_its_own_key_and_never_the_clients(
        self, client: httpx.AsyncClient, upstream: Upstream, project_key: dict[str, Any]
    ) -> None:
        answer = await client.post(CHAT, json=chat("echo"), headers={"openai-project": "x", "x-secret": "y"})
        sent = {name.lower(): value for name, value in upstream.headers[-1].items()}
        assert sent["authorization"] == "Bearer sk-fake"
        assert sent["x-request-id"] == answer.headers["x-request-id"]
        assert project_key["value"] not in str(sent)
        assert "x-secret" not in sent


FAILURES = [
    ("status-400", 400, "some_code", "failed"),
    ("status-429", 429, "some_code", "failed"),
    ("status-401", 502, "upstream_failed", "failed"),
    ("status-500", 502, "upstream_failed", "failed"),
    ("bare-500", 502, "upstream_failed", "failed"),
    ("status-503", 503, "model_loading", "failed"),
    ("cut-before", 502, "upstream_failed", "failed"),
    ("nothing", 404, "model_not_found", "refused"),
]


class TestWholeFailures:
    @pytest.mark.parametrize("stream", [False, True])
    async def test_are_http_errors_and_one_row(self, stream: bool, client: httpx.AsyncClient, sv: Services) -> None:
        for model, status, code, outcome in FAILURES:
            answer = await client.post(CHAT, json=chat(model, stream=stream))
            assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), model
            conforms("ErrorResponse", answer.json())
            row = (await logged.rows(sv))[-1]
            assert row.id == answer.headers["x-request-id"]
            assert ending(row) == (outcome, status, True), model
            assert row.error == answer.json()["error"]
            assert (row.reply, row.served_model, row.streamed) == (None, None, stream)
            assert (tokens(row), row.cost_nano, row.priced) == ((None, None, None, False), None, True)
        assert len(await logged.rows(sv)) == len(FAILURES)

    async def test_a_body_that_is_cut(self, client: httpx.AsyncClient, sv: Services) -> None:
        answer = await client.post(CHAT, json=chat("cut"))
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_failed")
        row = await logged.row(sv)
        assert (ending(row), row.reply, row.cost_nano) == (("failed", 502, True), None, None)

    async def test_a_limit_upstream_says_when_to_try_again(self, client: httpx.AsyncClient) -> None:
        assert (await client.post(CHAT, json=chat("status-429"))).headers["retry-after"] == "7"

    async def test_a_call_that_cannot_be_read_is_logged_as_it_came(
        self, client: httpx.AsyncClient, sv: Services
    ) -> None:
        await client.post(CHAT, content=b"{nope \x00\xff")
        row = await logged.row(sv)
        assert ending(row) == ("refused", 400, True)
        assert (row.request, row.requested_model) == (b"{nope \x00\xff", "")

    async def test_an_unknown_caller_leaves_no_row(
        self, client: httpx.AsyncClient, admin: httpx.AsyncClient, sv: Services
    ) -> None:
        assert (await client.post(CHAT, json=chat("echo"), headers={"authorization": "Bearer x"})).status_code == 401
        assert (await admin.post(CHAT, json=chat("echo"))).status_code == 403
        assert await logged.rows(sv) == []

    async def test_what_cannot_be_logged_is_not_answered(
        self, client: httpx.AsyncClient, sv: Services, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(self: Spool, payload: bytes) -> None:
            raise Unavailable("The exchange log cannot be written, so this call was not answered.")

        monkeypatch.setattr(Spool, "append", full)
        for stream in (False, True):
            answer = await client.post(CHAT, json=chat("echo", stream=stream))
            error = json.loads(events(answer)[-1])["error"] if stream else answer.json()["error"]
            assert (error["code"], answer.status_code) == ("service_unavailable", 200 if stream else 503)


class TestStream:
    async def test_has_openais_order(self, client: httpx.AsyncClient, upstream: Upstream) -> None:
        first, *middle, last = chunks(await client.post(CHAT, json=chat("echo", stream=True)))
        assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
        assert [each["choices"][0]["delta"] for each in middle] == [{"content": word} for word in WORDS]
        assert (last["choices"][0]["delta"], last["choices"][0]["finish_reason"]) == ({}, "stop")

    async def test_usage_is_always_asked_for_and_shown_only_on_demand(
        self, client: httpx.AsyncClient, upstream: Upstream
    ) -> None:
        plain = chunks(await client.post(CHAT, json=chat("echo", stream=True)))
        assert all("usage" not in each for each in plain)
        unwanted = chunks(
            await client.post(CHAT, json=chat("echo", stream=True, stream_options={"include_usage": False}))
        )
        assert all("usage" not in each for each in unwanted)
        body = chat("echo", stream=True, stream_options={"include_usage": True})
        *others, last = chunks(await client.post(CHAT, json=body))
        assert all(each["usage"] is None for each in others)
        assert (last["choices"], last["usage"]) == ([], usage({}))
        assert [each["stream_options"] for each in upstream.requests] == [{"include_usage": True}] * 3

    async def test_with_usage_the_bytes_are_the_upstreams(self, client: httpx.AsyncClient, sv: Services) -> None:
        answer = await client.post(CHAT, json=chat("echo", stream=True, stream_options={"include_usage": True}))
        sent = [json.dumps(json.loads(payload), ensure_ascii=False) for payload in events(answer)[:-1]]
        assert events(answer) == [*sent, "[DONE]"]

    async def test_one_row_holds_the_whole_reply(self, client: httpx.AsyncClient, sv: Services) -> None:
        answer = await client.post(CHAT, json=chat("echo", stream=True, metadata={"team": "a"}))
        row = await logged.row(sv)
        assert row.id == answer.headers["x-request-id"]
        assert (ending(row), tokens(row)) == (("completed", 200, False), (12, 4, 4, False))
        assert (row.cost_nano, row.priced, row.streamed) == (COST_NANO, True, True)
        assert (row.reply_id, row.served_model, row.upstream) == ("chatcmpl-fake", "echo", "fake")
        assert 0 < (row.first_token_ms or 0) <= row.duration_ms
        reply = json.loads(row.reply or b"")
        conforms("CreateChatCompletionResponse", reply)
        assert reply["choices"][0]["message"]["content"] == "".join(WORDS)
        assert reply["usage"] == usage({})

    async def test_headers_are_those_of_a_stream(self, client: httpx.AsyncClient) -> None:
        headers = (await client.post(CHAT, json=chat("echo", stream=True))).headers
        assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-cache", "no")
        assert headers["x-tuneway-model"] == "echo"
        assert "content-length" not in headers

    async def test_characters_that_are_cut_arrive_whole(self, client: httpx.AsyncClient, sv: Services) -> None:
        answer = chunks(await client.post(CHAT, json=chat("unicode", stream=True)))
        assert "".join(each["choices"][0]["delta"].get("content", "") for each in answer) == "é € 𝄞 "
        reply = json.loads((await logged.row(sv)).reply or b"")
        assert reply["choices"][0]["message"]["content"] == "é € 𝄞 "

    async def test_other_framing_becomes_openais(self, client: httpx.AsyncClient, sv: Services) -> None:
        answer = await client.post(CHAT, json=chat("crlf", stream=True))
        assert b"\r" not in answer.content
        assert answer.text.count(": keep-alive\n\n") == len(WORDS)
        row = await logged.row(sv)
        assert (ending(row), tokens(row)) == (("completed", 200, False), (12, 4, 4, False))

    async def test_a_stream_without_done_gets_one(self, client: httpx.AsyncClient, sv: Services) -> None:
        assert len(chunks(await client.post(CHAT, json=chat("no-done", stream=True)))) == len(WORDS) + 2
        assert ending(await logged.row(sv)) == ("completed", 200, False)

    async def test_usage_that_is_never_told_is_estimated(self, client: httpx.AsyncClient, sv: Services) -> None:
        chunks(await client.post(CHAT, json=chat("no-usage", stream=True)))
        row = await logged.row(sv)
        assert tokens(row) == (-(-len(row.request) // 4), 0, -(-len("".join(WORDS)) // 4), True)

    async def test_text_completions_too(self, client: httpx.AsyncClient, sv: Services) -> None:
        answer = await client.post("/v1/completions", json={"model": "echo", "prompt": "hi", "stream": True})
        assert events(answer)[-1] == "[DONE]"
        assert (await logged.row(sv)).cost_nano == COST_NANO

    async def test_an_upstream_that_does_not_stream_is_a_failure(self, client: httpx.AsyncClient, sv: Services) -> None:
        answer = await client.post(CHAT, json=chat("not-a-stream", stream=True))
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_failed")
        assert ending(await logged.row(sv)) == ("failed", 502, True)


BROKEN = {
    "error-midway": "The upstream failed: it broke",
    "cut": "The connection to the upstream `fake` broke before its reply was complete.",
    "ends-early": "The upstream ended its stream before the reply was complete.",
}


class TestStreamFailures:
    async def test_before_the_first_event_is_an_http_error(self, client: httpx.AsyncClient, sv: Services) -> None:
        answer = await client.post(CHAT, json=chat("error-first", stream=True))
        assert (answer.status_code, answer.json()["error"]["message"]) == (502, "The upstream failed: it broke")
        row = await logged.row(sv)
        assert (ending(row), row.reply) == (("failed", 502, True), None)

    async def test_later_is_an_error_frame_and_no_done(self, client: httpx.AsyncClient, sv: Services) -> None:
        for model, message in BROKEN.items():
            answer = events(await client.post(CHAT, json=chat(model, stream=True)))
            error = json.loads(answer[-1])
            conforms("ErrorResponse", error)
            assert error["error"]["message"] == message
            assert "[DONE]" not in answer
            assert len(answer) == 4  # role, two words, the error
            row = (await logged.rows(sv))[-1]
            assert (ending(row), row.error) == (("failed", 200, True), error["error"])

    async def test_what_arrived_is_logged_and_metered(self, client: httpx.AsyncClient, sv: Services) -> None:
        for model in BROKEN:
            await client.post(CHAT, json=chat(model, stream=True))
            row = (await logged.rows(sv))[-1]
            content = "".join(WORDS[:2])
            choice = json.loads(row.reply or b"")["choices"][0]
            assert (choice["message"]["content"], choice["finish_reason"]) == (content, None)
            assert tokens(row) == (-(-len(row.request) // 4), 0, -(-len(content) // 4), True)
            assert row.cost_nano


class TestSpool:
    async def test_a_reply_is_on_disk_before_its_last_byte_leaves(
        self, client: httpx.AsyncClient, sv: Services, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        appended: list[record.Record] = []
        sent: list[bytes] = []

        def append(self: Spool, payload: bytes) -> None:
            appended.append(record.decode(payload))
            assert b"data: [DONE]\n\n" not in sent

        monkeypatch.setattr(Spool, "append", append)
        async with client.stream("POST", CHAT, json=chat("echo", stream=True)) as answer:
            sent += [piece async for piece in answer.aiter_bytes()]
        assert [each.outcome for each in appended] == ["completed"]

    async def test_ids_are_in_the_order_of_calls(self, client: httpx.AsyncClient, sv: Services) -> None:
        ids = [(await client.post(CHAT, json=chat("echo"))).headers["x-request-id"] for _ in range(5)]
        assert [each.id for each in await logged.rows(sv)] == sorted(ids)


class TestNames:
    async def test_a_model_may_have_any_name(self, client: httpx.AsyncClient, sv: Services) -> None:
        for stream in (False, True):
            answer = await client.post(CHAT, json=chat("模型 é", stream=stream))
            assert answer.status_code == 200
        assert [each.served_model for each in await logged.rows(sv)] == ["模型 é"] * 2
