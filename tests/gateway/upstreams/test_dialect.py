"""The seam between OpenAI's API and an upstream's own."""

import json
from collections.abc import AsyncIterator

import anthropic
import pytest

from gateway.errors import InvalidRequest
from gateway.upstreams.anthropic.dialect import VERSION
from gateway.upstreams.dialect import dialect_of
from tests.fakes.anthropic import answer

BODY = b'{ "model": "chat",  "messages": [{"role":"user","content":"\\u00e9 \xc3\xa9"}], "new": 1.00, "n": 10000000000000000001 }'
OPENAI = dialect_of("openai")
ANTHROPIC = dialect_of("anthropic")


class TestOpenAI:
    def test_the_path_is_the_endpoint(self) -> None:
        assert OPENAI.path("/completions") == "/completions"

    def test_a_key_is_a_bearer_token(self) -> None:
        assert OPENAI.headers("sk-1", {}) == {"authorization": "Bearer sk-1"}
        assert OPENAI.headers("", {"OpenAI-Project": "p"}) == {"openai-project": "p"}

    def test_extra_headers_win(self) -> None:
        assert OPENAI.headers("sk-1", {"Authorization": "Basic x"}) == {"authorization": "Basic x"}

    def test_a_request_is_the_very_same_bytes(self) -> None:
        assert OPENAI.request("/chat/completions", BODY, served_name=None) is BODY

    def test_another_name_changes_the_model_and_nothing_else(self) -> None:
        sent = OPENAI.request("/chat/completions", BODY, served_name='gpt "4"')
        assert json.loads(sent) == json.loads(BODY) | {"model": 'gpt "4"'}
        for kept in (b'[{"role":"user","content":"\\u00e9 \xc3\xa9"}]', b"1.00", b"10000000000000000001"):
            assert kept in sent

    @pytest.mark.anyio
    async def test_replies_and_events_pass(self) -> None:
        async def events() -> AsyncIterator[bytes]:
            yield b"data: x"

        stream = events()
        assert OPENAI.reply(BODY) is BODY
        assert OPENAI.events(stream) is stream
        assert [event async for event in stream] == [b"data: x"]

    def test_errors_are_read(self) -> None:
        error = OPENAI.error(429, b'{"error": {"message": "slow", "type": "requests", "code": "rate_limit_exceeded"}}')
        assert error is not None
        assert (error.message, error.type, error.code) == ("slow", "requests", "rate_limit_exceeded")


class TestAnthropic:
    def test_the_version_is_the_packages(self) -> None:
        sent = anthropic.Anthropic(api_key="k").default_headers
        assert sent["anthropic-version"] == VERSION

    def test_key_and_version_are_headers(self) -> None:
        assert ANTHROPIC.headers("sk-ant", {}) == {"anthropic-version": VERSION, "x-api-key": "sk-ant"}

    def test_extra_headers_win(self) -> None:
        extra = {"Anthropic-Version": "2023-06-01", "anthropic-beta": "b", "Authorization": "Bearer t"}
        assert ANTHROPIC.headers("", extra) == {
            "anthropic-version": "2023-06-01",
            "anthropic-beta": "b",
            "authorization": "Bearer t",
        }

    def test_chats_are_messages(self) -> None:
        assert ANTHROPIC.path("/chat/completions") == "/messages"

    def test_text_completions_do_not_exist(self) -> None:
        for refused in (
            lambda: ANTHROPIC.path("/completions"),
            lambda: ANTHROPIC.request("/completions", b'{"model": "m", "prompt": "x"}', served_name=None),
        ):
            with pytest.raises(InvalidRequest) as raised:
                refused()
            assert raised.value.param == "model"
            assert "/v1/chat/completions" in str(raised.value)

    def test_who_defines_functions_sees_one_called(self) -> None:
        body = {"model": "tools", "messages": [{"role": "user", "content": "x"}]}
        reply = answer(body).to_json().encode()
        for more, called in (
            ({"functions": [{"name": "weather"}]}, "function_call"),
            ({"functions": []}, "tool_calls"),
        ):
            dialect = dialect_of("anthropic")
            dialect.request("/chat/completions", json.dumps(body | more).encode(), served_name=None)
            assert called in json.loads(dialect.reply(reply))["choices"][0]["message"]

    def test_and_nobody_else_at_the_same_time(self) -> None:
        body = {"model": "tools", "messages": [{"role": "user", "content": "x"}]}
        first, second = dialect_of("anthropic"), dialect_of("anthropic")
        first.request("/chat/completions", json.dumps(body | {"functions": [{"name": "f"}]}).encode(), served_name=None)
        second.request("/chat/completions", json.dumps(body).encode(), served_name=None)
        assert b'"function_call":{' in first.reply(answer(body).to_json().encode())

    def test_an_error_is_read(self) -> None:
        error = ANTHROPIC.error(
            529, b'{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}'
        )
        assert error is not None
        assert (error.message, error.code) == ("Overloaded", "server_is_overloaded")
