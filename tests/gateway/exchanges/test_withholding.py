"""What a client gets in place of an answer."""

import json
from typing import Any

from gateway.errors import Withheld
from gateway.exchanges import withholding
from gateway.exchanges.withholding import FILTERED
from tests.contract import conforms

WHY = Withheld("r@1", ["form"])
HEAD = {"id": "chatcmpl-1", "created": 1, "model": "m"}


def whole(*texts: str) -> dict[str, Any]:
    choices = [
        {
            "index": index,
            "finish_reason": "stop",
            "logprobs": {"content": [], "refusal": []},
            "message": {"role": "assistant", "content": text, "refusal": None, "tool_calls": [{"id": text}]},
        }
        for index, text in enumerate(texts)
    ]
    return HEAD | {"object": "chat.completion", "choices": choices, "usage": {"total_tokens": 3}}


def frame(chunk: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def chunk(index: int, text: str) -> dict[str, Any]:
    delta = {"index": index, "delta": {"content": text}, "finish_reason": None}
    return HEAD | {"object": "chat.completion.chunk", "choices": [delta]}


def read(frames: Any) -> list[dict[str, Any]]:
    return [json.loads(each.removeprefix(b"data: ")) for each in frames]


class TestBody:
    def test_withholds_a_choice_and_leaves_the_others_alone(self) -> None:
        before = whole("one", "two")
        after = json.loads(withholding.body(json.dumps(before).encode(), {1}, WHY))
        assert after["choices"][0] == before["choices"][0]
        assert after["choices"][1] == {
            "index": 1,
            "finish_reason": FILTERED,
            "logprobs": None,
            "message": {"role": "assistant", "content": "", "refusal": str(WHY)},
        }
        assert {name: after[name] for name in (*HEAD, "usage")} == {name: before[name] for name in (*HEAD, "usage")}

    def test_of_a_text_completion(self) -> None:
        before = {"choices": [{"index": 0, "text": "one", "finish_reason": "stop", "logprobs": {"tokens": ["one"]}}]}
        [choice] = json.loads(withholding.body(json.dumps(before).encode(), {0}, WHY))["choices"]
        assert choice == {"index": 0, "text": "", "finish_reason": FILTERED, "logprobs": None}


class TestFrames:
    def test_are_as_they_came_when_nothing_is_withheld(self) -> None:
        held = [frame(chunk(0, "one")), b": comment\n\n"]
        assert list(withholding.frames(held, None)) == held

    def test_say_of_every_choice_that_it_is_withheld_and_keep_the_usage(self) -> None:
        usage = HEAD | {"object": "chat.completion.chunk", "choices": [], "usage": {"total_tokens": 3}}
        held = [frame(chunk(0, "one")), frame(chunk(1, "two")), frame(chunk(0, "three")), frame(usage)]
        *told, last = read(withholding.frames(held, WHY))
        assert last == usage
        assert [each["choices"][0]["index"] for each in told] == [0, 0, 1, 1]
        for each in told:
            conforms("CreateChatCompletionStreamResponse", each)
        assert [each["choices"][0]["finish_reason"] for each in told] == [None, FILTERED] * 2
        assert told[0]["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": str(WHY)}

    def test_of_a_text_completion(self) -> None:
        held = [frame(HEAD | {"object": "text_completion", "choices": [{"index": 0, "text": "one"}]})]
        [told] = read(withholding.frames(held, WHY))
        assert told["choices"] == [{"index": 0, "text": "", "finish_reason": FILTERED, "logprobs": None}]
