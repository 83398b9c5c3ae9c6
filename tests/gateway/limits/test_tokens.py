import json
from typing import Any

import msgspec
import pytest

from gateway.kit.embedded import EMBEDDED_TOKENS
from gateway.limits import tokens
from gateway.protocol.envelope import ChatEnvelope, CompletionEnvelope


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": "hello"}], **fields}).encode()


def reserved(body: bytes) -> int:
    return tokens.reserved(msgspec.json.decode(body, type=ChatEnvelope), body)


PROMPT = -(-len(body()) // 4)


class TestReserved:
    def test_is_the_prompt_by_its_size(self) -> None:
        assert reserved(body()) == PROMPT

    @pytest.mark.parametrize(
        ("fields", "answer"),
        [
            ({"max_tokens": 100}, 100),
            ({"max_completion_tokens": 70}, 70),
            ({"max_completion_tokens": 70, "max_tokens": 100}, 70),
            ({"max_tokens": 100, "n": 3}, 300),
            ({"max_tokens": None}, 0),
            ({"max_tokens": "many"}, 0),
            ({"max_tokens": -5}, 0),
            ({"max_tokens": True}, 0),
            ({"max_tokens": 10, "n": "x"}, 10),
            ({"max_tokens": 10.0}, 0),
            ({"max_tokens": {"a": [[]]}}, 0),
        ],
    )
    def test_and_what_the_answer_may_be(self, fields: dict[str, Any], answer: int) -> None:
        assert reserved(body(**fields)) == -(-len(body(**fields)) // 4) + answer

    def test_of_a_completion_too(self) -> None:
        body = b'{"model": "m", "prompt": "hello", "max_tokens": 100, "n": 2}'
        assert tokens.reserved(msgspec.json.decode(body, type=CompletionEnvelope), body) == 15 + 200

    def test_what_is_embedded_counts_once_and_not_by_its_bytes(self) -> None:
        part = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "iVBORw0KGgo" * 30_000}}
        found = reserved(body(messages=[{"role": "user", "content": [part, part]}]))
        assert 2 * EMBEDDED_TOKENS < found < 2 * EMBEDDED_TOKENS + 100

    def test_text_is_never_taken_for_a_file(self) -> None:
        text = "The quick brown fox jumps over the lazy dog. " * 1000
        assert reserved(body(messages=[{"role": "user", "content": text}])) > len(text) / 4
