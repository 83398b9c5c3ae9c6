"""client.chat.completions"""

import asyncio
import json
from typing import Any

import pytest
from openai import APIError, AsyncOpenAI, BadRequestError, OpenAI, RateLimitError

from tests.contract import conforms
from tests.openai_sdk.stacks import user

pytestmark = pytest.mark.train

ASK: dict[str, Any] = {"model": "starter", "messages": user("Hello! Who are you?"), "temperature": 0, "max_tokens": 24}


class TestWhole:
    def test_answers_with_usage(self, client: OpenAI) -> None:
        reply = client.chat.completions.create(**ASK)
        choice = reply.choices[0]
        assert reply.model == "starter"
        assert reply.id.startswith("chatcmpl-")
        assert choice.message.role == "assistant"
        assert choice.message.content
        assert choice.finish_reason == "stop"
        assert reply.usage is not None
        assert reply.usage.prompt_tokens > 0
        assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens

    def test_temperature_0_always_gives_the_same(self, client: OpenAI) -> None:
        assert len({client.chat.completions.create(**ASK).choices[0].message.content for _ in range(3)}) == 1

    def test_max_tokens_cuts(self, client: OpenAI) -> None:
        for limit in ("max_tokens", "max_completion_tokens"):
            reply = client.chat.completions.create(**ASK | {"max_tokens": None} | {limit: 3})
            assert reply.choices[0].finish_reason == "length"
            assert reply.usage is not None
            assert reply.usage.completion_tokens == 3

    def test_stop_ends_before_the_text(self, client: OpenAI) -> None:
        whole = client.chat.completions.create(**ASK).choices[0].message.content
        assert whole is not None
        word = whole.split()[2]
        cut = client.chat.completions.create(**ASK, stop=[word]).choices[0]
        assert cut.message.content == whole[: whole.index(word)]
        assert cut.finish_reason == "stop"

    def test_n_choices_and_a_seed_that_repeats_them(self, client: OpenAI) -> None:
        ask = ASK | {"n": 3, "temperature": 2.0, "seed": 11}
        first, again, other = (
            [choice.message.content for choice in client.chat.completions.create(**each).choices]
            for each in (ask, ask, ask | {"seed": 12})
        )
        assert len(first) == 3
        assert first == again
        assert first != other

    def test_logprobs_of_every_token(self, client: OpenAI) -> None:
        reply = client.chat.completions.create(**ASK, logprobs=True, top_logprobs=2)
        logprobs = reply.choices[0].logprobs
        assert logprobs is not None
        assert logprobs.content
        assert "".join(token.token for token in logprobs.content) == reply.choices[0].message.content
        for token in logprobs.content:
            assert len(token.top_logprobs) == 2
            assert token.logprob == token.top_logprobs[0].logprob <= 0

    def test_a_conversation_and_a_system_message(self, client: OpenAI) -> None:
        messages: Any = [
            {"role": "system", "content": "You are a shop."},
            {"role": "user", "content": [{"type": "text", "text": "Hello!"}]},
            {"role": "assistant", "content": "Hello."},
            {"role": "user", "content": "Who are you?"},
        ]
        assert client.chat.completions.create(**ASK | {"messages": messages}).choices[0].message.content

    def test_headers_of_the_raw_response(self, client: OpenAI) -> None:
        raw = client.chat.completions.with_raw_response.create(**ASK)
        assert raw.headers["x-request-id"].startswith("req_")
        assert int(raw.headers["openai-processing-ms"]) >= 0
        assert raw.headers["openai-version"] == "2020-10-01"
        assert raw.headers["x-tuneway-model"] == "starter"
        assert float(raw.headers["x-tuneway-cost"]) > 0
        assert raw.parse()._request_id == raw.headers["x-request-id"]


class TestStreamed:
    def test_pieces_make_the_same_text(self, client: OpenAI) -> None:
        whole = client.chat.completions.create(**ASK).choices[0].message.content
        chunks = list(client.chat.completions.create(**ASK, stream=True))
        assert chunks[0].choices[0].delta.role == "assistant"
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole
        assert chunks[-1].choices[0].finish_reason == "stop"
        assert len({chunk.id for chunk in chunks}) == 1
        assert len(chunks) > 3

    def test_usage_comes_only_when_asked(self, client: OpenAI) -> None:
        unasked = list(client.chat.completions.create(**ASK, stream=True))
        assert [chunk for chunk in unasked if chunk.usage or not chunk.choices] == []
        whole = client.chat.completions.create(**ASK).usage
        *others, last = client.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True})
        assert last.choices == []
        assert last.usage is not None
        assert whole is not None
        assert last.usage.total_tokens == whole.total_tokens
        assert all(chunk.usage is None for chunk in others)

    def test_every_event_is_what_openai_sends(self, client: OpenAI) -> None:
        ask = ASK | {"stream": True, "stream_options": {"include_usage": True}}
        with client.chat.completions.with_streaming_response.create(**ask) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            assert response.headers["x-request-id"].startswith("req_")
            lines = [line for line in response.iter_lines() if line]
        assert lines[-1] == "data: [DONE]"
        for line in lines[:-1]:
            conforms("CreateChatCompletionStreamResponse", _json(line))

    def test_the_stream_helper_accumulates(self, client: OpenAI) -> None:
        with client.chat.completions.stream(**ASK, stream_options={"include_usage": True}) as stream:
            deltas = [event.delta for event in stream if event.type == "content.delta"]
            final = stream.get_final_completion()
        assert "".join(deltas) == final.choices[0].message.content
        assert final.choices[0].finish_reason == "stop"
        assert final.usage is not None

    def test_logprobs_and_choices_side_by_side(self, client: OpenAI) -> None:
        ask = ASK | {"n": 2, "temperature": 2.0, "seed": 3, "logprobs": True}
        whole = client.chat.completions.create(**ask)
        texts, tokens = ["", ""], [0, 0]
        for chunk in client.chat.completions.create(**ask, stream=True):
            for choice in chunk.choices:
                texts[choice.index] += choice.delta.content or ""
                tokens[choice.index] += len((choice.logprobs and choice.logprobs.content) or ())
        assert texts == [choice.message.content for choice in whole.choices]
        assert tokens == [len((each.logprobs and each.logprobs.content) or ()) for each in whole.choices]

    def test_leaving_early_is_fine(self, client: OpenAI) -> None:
        with client.chat.completions.create(**ASK, stream=True) as stream:
            next(iter(stream))
        assert client.chat.completions.create(**ASK).choices


class TestAsync:
    async def test_twenty_calls_at_once(self, asynchronous: AsyncOpenAI) -> None:
        """Each call gets its own answer, whatever the engine computes together."""
        questions = [f"What is the opposite of {word}?" for word in ("hot", "big", "day", "up", "old")] * 4

        async def ask(question: str) -> str | None:
            reply = await asynchronous.chat.completions.create(**ASK | {"messages": user(question)})
            return reply.choices[0].message.content

        answers = await asyncio.gather(*map(ask, questions))
        assert all(answers)
        assert answers[:5] * 4 == list(answers)
        assert len(set(answers)) > 1

    async def test_streams_at_once(self, asynchronous: AsyncOpenAI) -> None:
        async def ask() -> str:
            stream = await asynchronous.chat.completions.create(**ASK, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

        assert len(set(await asyncio.gather(*(ask() for _ in range(8))))) == 1


class TestRefusals:
    def test_a_context_too_long(self, client: OpenAI) -> None:
        with pytest.raises(BadRequestError, match="maximum context length") as refused:
            client.chat.completions.create(**ASK | {"messages": user("hello " * 4000)})
        assert refused.value.code == "context_length_exceeded"
        assert refused.value.param == "messages"
        assert refused.value.request_id is not None

    def test_a_context_too_long_for_a_stream_is_no_stream(self, client: OpenAI) -> None:
        with pytest.raises(BadRequestError) as refused:
            client.chat.completions.create(**ASK | {"messages": user("hello " * 4000)}, stream=True)
        assert refused.value.code == "context_length_exceeded"

    @pytest.mark.parametrize(
        ("field", "value"), [("temperature", 3), ("n", 0), ("messages", []), ("top_logprobs", 2), ("max_tokens", -1)]
    )
    def test_a_field_out_of_range(self, client: OpenAI, field: str, value: Any) -> None:
        with pytest.raises(BadRequestError) as refused:
            client.chat.completions.create(**ASK | {field: value})
        assert refused.value.type == "invalid_request_error"
        assert refused.value.param == field

    def test_what_the_engine_cannot_do(self, client: OpenAI) -> None:
        with pytest.raises(BadRequestError) as refused:
            client.chat.completions.create(**ASK, response_format={"type": "json_object"})
        assert refused.value.code == "unsupported_parameter"


class TestSecondProvider:
    """Another upstream behind the same URL and key."""

    def test_answers_whole_and_streamed(self, client: OpenAI) -> None:
        ask: Any = {"model": "echo", "messages": user("say this")}
        assert client.chat.completions.create(**ask).choices[0].message.content == "say this"
        chunks = list(client.chat.completions.create(**ask, stream=True))
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "one two three four "

    def test_its_refusal_comes_through(self, client: OpenAI) -> None:
        with pytest.raises(RateLimitError, match="upstream says status-429") as refused:
            client.chat.completions.create(model="status-429", messages=user("hello"))
        assert refused.value.response.headers["retry-after"] == "7"

    def test_a_stream_that_breaks_raises(self, client: OpenAI) -> None:
        stream = client.chat.completions.create(model="error-midway", messages=user("hello"), stream=True)
        seen: list[str] = []
        with pytest.raises(APIError, match="it broke"):
            seen.extend(chunk.choices[0].delta.content or "" for chunk in stream)
        stream.close()


def _json(line: str) -> Any:
    return json.loads(line.removeprefix("data: "))
