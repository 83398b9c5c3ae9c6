"""Which replies may be given again."""

import json
from typing import Any

import pytest

from gateway.reply_cache.storable import is_storable

ASKED = b'{"model": "m"}'


def reply(*ends: str | None, **more: Any) -> bytes:
    choices = [{"index": at, "message": {"content": "a"}, "finish_reason": end} for at, end in enumerate(ends)]
    return json.dumps({"id": "chatcmpl-1", "choices": choices, "usage": {"prompt_tokens": 1}} | more).encode()


class TestIsStorable:
    @pytest.mark.parametrize("ends", [["stop"], ["tool_calls"], ["function_call"], ["stop", "tool_calls"]])
    def test_whole_ones(self, ends: list[str]) -> None:
        assert is_storable(reply(*ends), ASKED)

    @pytest.mark.parametrize("ends", [[], [None], ["content_filter"], ["length"], ["stop", "length"], ["stop", None]])
    def test_none_that_was_cut_or_withheld(self, ends: list[str | None]) -> None:
        assert not is_storable(reply(*ends), ASKED)

    @pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
    def test_one_that_is_as_long_as_it_was_asked_to_be(self, limit: str) -> None:
        asked = json.dumps({"model": "m", limit: 1}).encode()
        assert is_storable(reply("length"), asked)
        assert is_storable(reply("stop", "length"), asked)
        assert not is_storable(reply("length", "content_filter"), asked)

    @pytest.mark.parametrize(
        "body", [reply("stop", usage=None), b'{"error": {}}', b"[]", b"", b'{"choices": "x", "usage": {}}']
    )
    def test_nothing_without_usage_or_form(self, body: bytes) -> None:
        assert not is_storable(body, ASKED)

    @pytest.mark.parametrize(
        "broken",
        [
            {"message": None},
            {"message": {"content": "a", "tool_calls": ["x"]}},
            {"message": {"content": "a", "tool_calls": 5}},
            {"text": 5},
        ],
    )
    def test_nothing_that_cannot_be_said_again(self, broken: dict[str, Any]) -> None:
        assert not is_storable(reply(choices=[broken | {"finish_reason": "stop"}]), ASKED)
        assert not is_storable(reply("stop", object=["x"]), ASKED)
        assert not is_storable(reply("stop").replace(b'"a"', b'"\xff"'), ASKED)

    def test_no_audio(self) -> None:
        spoken = {"index": 0, "message": {"audio": {"id": "audio_1"}}, "finish_reason": "stop"}
        assert not is_storable(reply(choices=[spoken]), ASKED)
