"""client.completions: text in, text out."""

from typing import Any

import pytest
from openai import BadRequestError, OpenAI

from deploy.demo.stack import DemoStack, Key
from tests.openai_sdk.stacks import connect

pytestmark = pytest.mark.train

ASK: dict[str, Any] = {"model": "starter", "prompt": "Hello", "temperature": 0, "max_tokens": 12}


class TestCompletions:
    def test_answers_with_usage(self, client: OpenAI) -> None:
        reply = client.completions.create(**ASK)
        assert reply.object == "text_completion"
        assert reply.choices[0].text
        assert reply.usage is not None
        assert reply.usage.completion_tokens > 0

    def test_streams_the_same_text(self, stack: DemoStack, key: Key) -> None:
        """Lenient only: the SDK's type knows no null finish_reason, which OpenAI sends in every chunk but the last."""
        with connect(stack, key.value) as client:
            whole = client.completions.create(**ASK).choices[0].text
            *chunks, last = client.completions.create(**ASK, stream=True, stream_options={"include_usage": True})
        assert "".join(chunk.choices[0].text for chunk in chunks) == whole
        assert chunks[-1].choices[0].finish_reason in ("stop", "length")
        assert last.usage is not None

    def test_several_prompts_several_choices(self, client: OpenAI) -> None:
        prompts = ["Hello", "Good morning"]
        reply = client.completions.create(**ASK | {"prompt": prompts, "n": 2, "echo": True})
        assert [choice.index for choice in reply.choices] == [0, 1, 2, 3]
        assert [choice.text.startswith(prompts[choice.index // 2]) for choice in reply.choices] == [True] * 4

    def test_logprobs(self, client: OpenAI) -> None:
        choice = client.completions.create(**ASK, logprobs=2).choices[0]
        assert choice.logprobs is not None
        assert choice.logprobs.tokens
        assert choice.logprobs.token_logprobs is not None
        assert len(choice.logprobs.tokens) == len(choice.logprobs.token_logprobs)

    def test_a_prompt_too_long(self, client: OpenAI) -> None:
        with pytest.raises(BadRequestError) as refused:
            client.completions.create(**ASK | {"prompt": "hello " * 4000})
        assert refused.value.code == "context_length_exceeded"
