"""Streams as bytes on the wire."""

from collections.abc import Iterator
from typing import Any

import pytest
from openai import OpenAI

from tests.trainer.engine.wire import HELLO, RunningEngine, stream, text_of

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def client(served: RunningEngine) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client:
        yield client


class TestStreaming:
    def test_the_frames(self, served):
        chunks = stream(served, messages=HELLO, temperature=0, max_tokens=8)
        assert {chunk["id"] for chunk in chunks} == {chunks[0]["id"]}
        assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
        assert all("usage" not in chunk for chunk in chunks)
        first, *middle, last = [chunk["choices"][0] for chunk in chunks]
        assert first == {
            "index": 0,
            "delta": {"role": "assistant", "content": ""},
            "logprobs": None,
            "finish_reason": None,
        }
        assert all(list(choice["delta"]) == ["content"] and choice["finish_reason"] is None for choice in middle)
        assert last == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "length"}

    def test_streamed_text_is_the_whole_text(self, served, client):
        for seed in range(3):
            fields: Any = {"messages": HELLO, "seed": seed, "max_tokens": 60, "n": 2}
            answer = client.chat.completions.create(model="nano", **fields)
            chunks = stream(served, **fields)
            for choice in answer.choices:
                assert text_of(chunks, choice.index) == choice.message.content

    def test_no_frame_ends_inside_a_character(self, served):
        bias = {str(token): 4.0 for token in range(120, 240)}
        for seed in range(3):
            chunks = stream(served, messages=HELLO, seed=seed, max_tokens=80, logit_bias=bias)
            assert text_of(chunks).encode().decode() == text_of(chunks)

    def test_usage_comes_last_when_asked_for(self, served):
        chunks = stream(served, messages=HELLO, max_tokens=4, ignore_eos=True, stream_options={"include_usage": True})
        assert all(chunk["usage"] is None for chunk in chunks[:-1])
        assert chunks[-1]["choices"] == []
        assert chunks[-1]["usage"]["completion_tokens"] == 4

    def test_usage_so_far_in_every_chunk(self, served):
        options = {"include_usage": True, "continuous_usage_stats": True}
        bias = {"70": 100}  # a letter: every token is a character of its own
        chunks = stream(served, messages=HELLO, max_tokens=5, stream_options=options, logit_bias=bias)
        counts = [chunk["usage"]["completion_tokens"] for chunk in chunks]
        assert counts == sorted(counts)
        assert counts[-1] == counts[-2] == 5
        assert set(counts) >= {1, 2, 3, 4, 5}
        assert len({chunk["usage"]["prompt_tokens"] for chunk in chunks}) == 1

    def test_the_sdk_reads_it(self, client):
        with client.chat.completions.create(
            model="nano",
            messages=HELLO,
            stream=True,
            max_tokens=6,
            stream_options={"include_usage": True},
            extra_body={"ignore_eos": True},
        ) as chunks:
            last = list(chunks)[-1]
        assert last.usage is not None
        assert last.usage.completion_tokens == 6


@pytest.fixture(scope="module")
def written(client) -> str:
    """A long answer without stop strings, always the same."""
    answer = client.chat.completions.create(
        model="nano", messages=HELLO, seed=11, max_tokens=60, extra_body={"ignore_eos": True}
    )
    return answer.choices[0].message.content


class TestStop:
    @pytest.mark.parametrize("length", [1, 3, 7])
    def test_the_answer_ends_before_the_stop_string(self, served, client, written, length):
        stop = written[10 : 10 + length]
        fields: Any = {"messages": HELLO, "seed": 11, "max_tokens": 60, "stop": [stop, "never ever"]}
        answer = client.chat.completions.create(model="nano", extra_body={"ignore_eos": True}, **fields)
        expected = written[: written.index(stop)]
        assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == (expected, "stop")
        chunks = stream(served, ignore_eos=True, **fields)
        assert text_of(chunks) == expected
        assert chunks[-1]["choices"][0]["finish_reason"] == "stop"

    def test_a_held_back_beginning_is_shown_when_the_answer_ends(self, served, written):
        stop = written[-1] + "\x00"
        chunks = stream(served, messages=HELLO, seed=11, max_tokens=60, stop=stop, ignore_eos=True)
        assert text_of(chunks) == written
