"""Every rule for lines, told with its place; and that the quick look never passes what the slow one refuses."""

import json
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.datasets import lines, problems
from gateway.datasets.checking import quick_look
from gateway.datasets.found import MOST_OF_A_LINE, QUOTE, Found
from gateway.datasets.problems import examine, format_of
from gateway.protocol.datasets import Format
from trainer.data import read_examples
from trainer.preferences import read_preferences

CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Bern"}'}}
USER = {"role": "user", "content": "hi"}
ANSWER = {"role": "assistant", "content": "hello"}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}
CALLS = {"role": "assistant", "content": None, "tool_calls": [CALL]}
OLD_CALL = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": ""}}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {}}}


def chat(*messages: Any, **fields: Any) -> dict[str, Any]:
    return {"messages": list(messages), **fields}


def pair(*messages: Any, chosen: Any = None, rejected: Any = None, **fields: Any) -> dict[str, Any]:
    return {
        "input": {"messages": list(messages) or [USER]},
        "preferred_output": [ANSWER] if chosen is None else chosen,
        "non_preferred_output": [{**ANSWER, "content": "go away"}] if rejected is None else rejected,
        **fields,
    }


def told(raw: bytes | Any, wanted: Format = "chat") -> list[tuple[str, str]]:
    """Path and message of every problem."""
    found = Found()
    example = examine(raw if isinstance(raw, bytes) else json.dumps(raw).encode(), wanted, found)
    assert (example is None) == bool(found.kept)
    assert all(problem.fix.endswith((".", "}", "]")) for problem in found.kept), found.kept
    return [(problem.path, problem.message) for problem in found.kept]


def quick(raw: bytes, wanted: Format) -> bool:
    return quick_look(raw, wanted) is not None


GOOD_CHATS: list[Any] = [
    chat(USER, ANSWER),
    chat(ANSWER),
    chat({"role": "system", "content": "be kind"}, USER, ANSWER),
    chat({"role": "developer", "content": "be kind"}, USER, ANSWER),
    chat(USER, {**ANSWER, "weight": 0}, USER, {**ANSWER, "weight": 1}),
    chat(USER, {**ANSWER, "weight": None}),
    chat(USER, {**ANSWER, "name": "bot", "refusal": None, "audio": None, "annotations": []}),
    chat(USER, {**ANSWER, "reasoning_content": "They greet me."}),
    chat({"role": "user", "content": [{"type": "text", "text": "hi"}]}, ANSWER),
    chat(USER, {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}),
    chat(USER, {"role": "assistant", "tool_calls": [CALL]}),
    chat(USER, CALLS, RESULT, ANSWER, tools=[TOOL], parallel_tool_calls=False),
    chat(USER, CALLS, USER, ANSWER),
    chat(USER, OLD_CALL, {"role": "function", "name": "f", "content": "1"}, ANSWER, functions=[{"name": "f"}]),
    chat(USER, {**ANSWER, "content": ""}),
    chat({**USER, "content": ""}, ANSWER),
    chat(USER, {**ANSWER, "tool_calls": []}),
    chat(USER, ANSWER, USER),
    chat(USER, ANSWER, {"role": "system", "content": "end"}),
    chat(USER, {**ANSWER, "content": "a\u0000b"}),
    chat(USER, ANSWER, metadata=None),
    chat({**USER, "content": '"role" "content" "messages"'}, ANSWER),
]
GOOD_PAIRS: list[Any] = [
    pair(),
    pair({"role": "system", "content": "be kind"}, USER),
    pair(USER, ANSWER, USER),
    pair(USER, CALLS, RESULT),
    pair(chosen=[CALLS]),
    {"input": {"messages": [USER], "tools": [TOOL], "parallel_tool_calls": True}, "preferred_completion": [ANSWER],
     "non_preferred_completion": [ANSWER]},
    pair(preferred_completion=None),
]  # fmt: skip


ODD: list[Any] = [
    None, "", "x", " ", 0, 1, 2, 0.5, True, [], {}, ["x"], {"a": 1}, "{}", "[]", '"{}"', "\ud800", "\u0000", "assistant",
    "user", "tool", "system", "function", "developer", USER, ANSWER, RESULT, CALLS, OLD_CALL, [CALL], CALL, TOOL, [TOOL],
    {"type": "text", "text": "x"}, [{"type": "text", "text": ""}], [{"type": "refusal", "refusal": "no"}],
]  # fmt: skip
NAMES = [
    "role", "content", "weight", "name", "tool_calls", "tool_call_id", "function_call", "refusal", "audio", "reasoning",
    "reasoning_content", "annotations", "messages", "tools", "functions", "parallel_tool_calls", "input", "arguments",
    "preferred_output", "preferred_completion", "non_preferred_completion", "parameters", "description", "type", "text",
]  # fmt: skip


def changed(chance: random.Random, value: Any) -> Any:
    """A copy with one value replaced, added or taken away, anywhere in it."""
    if isinstance(value, dict) and value:
        name = chance.choice([*value, *value, *value, chance.choice(NAMES)])
        if chance.random() < 0.1:
            return {each: kept for each, kept in value.items() if each != name}
        return {**value, name: changed(chance, value.get(name))}
    if isinstance(value, list) and value and chance.random() < 0.9:
        at = chance.randrange(len(value))
        return [*value[:at], changed(chance, value[at]), *value[at + chance.choice([0, 1, 1, 1]) :]]
    return chance.choice(ODD)


class TestGoodExamples:
    @pytest.mark.parametrize("good", GOOD_CHATS)
    def test_chats(self, good: Any) -> None:
        assert told(good) == []

    @pytest.mark.parametrize("good", GOOD_PAIRS)
    def test_pairs(self, good: Any) -> None:
        assert told(good, "preference") == []

    @pytest.mark.parametrize("good", GOOD_CHATS)
    def test_trainer_takes_them_too(self, good: Any, tmp_path: Path) -> None:
        path = tmp_path / "training.jsonl"
        path.write_text(json.dumps(good))
        assert len(list(read_examples(path, "training_file"))) == 1

    @pytest.mark.parametrize("good", GOOD_PAIRS)
    def test_trainer_takes_pairs_too(self, good: Any, tmp_path: Path) -> None:
        path = tmp_path / "training.jsonl"
        path.write_text(json.dumps(good))
        assert len(list(read_preferences(path, "training_file"))) == 1

    @pytest.mark.parametrize("wanted", ["chat", "preference"])
    def test_nothing_passes_that_the_trainer_refuses(self, wanted: Format, tmp_path: Path) -> None:
        """Good examples with one value changed, in every way that may still be JSON."""
        chance, path, passed = random.Random(7), tmp_path / "training.jsonl", 0
        lines: list[bytes] = []
        for good in (GOOD_CHATS if wanted == "chat" else GOOD_PAIRS) * 150:
            line = json.dumps(changed(chance, good)).encode()
            found = Found()
            if examine(line, wanted, found) is not None:
                passed += 1
                lines.append(line)
            assert not quick(line, wanted) or not found.count
        path.write_bytes(b"\n".join(lines))
        read = read_examples if wanted == "chat" else read_preferences
        assert len(list(read(path, "training_file"))) == passed
        assert passed > 100

    def test_most_need_no_slow_look(self) -> None:
        slow = [good for good in GOOD_CHATS if not quick(json.dumps(good).encode(), "chat")]
        assert slow == [chat(USER, ANSWER, metadata=None)]
        assert all(quick(json.dumps(good).encode(), "preference") for good in GOOD_PAIRS)


def message(value: Any, where: int = 1) -> Any:
    """A chat with one odd message."""
    return chat(*[USER] * where, value, ANSWER)


BAD_CHATS: list[tuple[Any, list[tuple[str, str]]]] = [
    (chat(), [("messages", "is empty")]),
    ({"messages": None}, [("messages", "expected an array, got null")]),
    (chat({"content": "hi"}, ANSWER), [("messages[0].role", "is missing")]),
    (message({**ANSWER, "role": "bot"}), [("messages[1].role", "unknown role 'bot'")]),
    (message("text"), [("messages[1]", "expected an object, got a string")]),
    (chat({**USER, "content": 3}, ANSWER), [("messages[0].content", "expected text or a list of parts, got a number")]),
    (chat(USER, {**ANSWER, "weight": 2}), [("messages[1].weight", "weight is 2")]),
    (chat(USER, {**ANSWER, "weight": 0.5}), [("messages[1].weight", "weight is 0.5")]),
    (chat(USER, {**ANSWER, "weight": True}), [("messages[1].weight", "weight is true")]),
    (
        chat({**USER, "weight": 1}, ANSWER),
        [("messages[0].weight", "role user has a weight, which only assistant messages may have")],
    ),
    (chat(USER), [("messages", "there is no assistant message to learn from (all are missing or have weight 0)")]),
    (
        chat(USER, {**ANSWER, "weight": 0}),
        [("messages", "there is no assistant message to learn from (all are missing or have weight 0)")],
    ),
    (chat(USER, {"role": "assistant"}), [("messages[1].content", "neither `content` nor `tool_calls` is there")]),
    (chat({"role": "user"}, ANSWER), [("messages[0].content", "is missing (role user)")]),
    (chat({**USER, "content": []}, ANSWER), [("messages[0].content", "is an empty list")]),
    (
        chat({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}, ANSWER),
        [("messages[0].content[0].type", "part of type 'image_url': images and audio cannot be trained on here")],
    ),
    (
        chat({"role": "user", "content": [{"type": "text"}]}, ANSWER),
        [("messages[0].content[0].text", "expected a string, got null")],
    ),
    (message({"role": "tool", "content": "1"}), [("messages[1].tool_call_id", "is missing")]),
    (
        message(RESULT),
        [("messages[1].tool_call_id", "no assistant message before has a tool call with id 'call_1'")],
    ),
    (
        message({"role": "function", "name": "f", "content": "1"}),
        [("messages[1].name", "no assistant message before calls 'f'")],
    ),
    (message({**USER, "tool_call_id": "call_1"}), [("messages[1].tool_call_id", "belongs to role tool")]),
    (message({**USER, "tool_calls": [CALL]}), [("messages[1].tool_calls", "role user cannot call tools")]),
    (
        chat(USER, {**CALLS, "tool_calls": [{**CALL, "type": "custom"}]}),
        [("messages[1].tool_calls[0].type", "is custom")],
    ),
    (
        chat(USER, {**CALLS, "tool_calls": [{"id": "1", "type": "function"}]}),
        [("messages[1].tool_calls[0].function", "expected an object, got null")],
    ),
    (
        chat(USER, {**CALLS, "tool_calls": [{**CALL, "function": {"name": "f", "arguments": "{"}}]}),
        [("messages[1].tool_calls[0].function.arguments", "is not valid JSON: {")],
    ),
    (
        chat(USER, {**CALLS, "tool_calls": [{**CALL, "function": {"name": "f", "arguments": json.dumps('{"a": 1}')}}]}),
        [("messages[1].tool_calls[0].function.arguments", "is JSON text of a JSON text: it was encoded twice")],
    ),
    (
        chat(USER, {**CALLS, "tool_calls": [{**CALL, "function": {"name": "f", "arguments": "[1]"}}]}),
        [("messages[1].tool_calls[0].function.arguments", "is JSON text of an array")],
    ),
    (
        chat(USER, {**CALLS, "tool_calls": [{**CALL, "function": {"name": "f", "arguments": {"a": 1}}}]}),
        [("messages[1].tool_calls[0].function.arguments", "expected JSON text, got an object")],
    ),
    (
        chat(USER, {"role": "assistant", "function_call": {"name": "f", "arguments": "x"}}),
        [("messages[1].function_call.arguments", "is not valid JSON: x")],
    ),
    (chat(USER, ANSWER, tools={}), [("tools", "expected an array, got an object")]),
    (chat(USER, ANSWER, tools=[{"name": "f"}]), [
        ("tools[0].type", "is null"), ("tools[0].function", "expected an object, got null"),
    ]),
    (chat(USER, ANSWER, parallel_tool_calls="yes"), [("parallel_tool_calls", "expected a boolean, got a string")]),
    (chat(USER, ANSWER, functions=[3]), [("functions[0]", "expected an object, got a number")]),
    (chat(USER, ANSWER, weight=1), [("weight", 'contains an extra "weight"')]),
    (chat(USER, {**ANSWER, "wgt": 0}), [("messages[1].wgt", 'contains an extra "wgt"')]),
    (chat(USER, {**ANSWER, "refusal": "no"}), [("messages[1].refusal", "is not trained on")]),
    ({"text": "hello"}, [("text", 'contains an extra "text"'), ("messages", "is missing")]),
]  # fmt: skip
BAD_PAIRS: list[tuple[Any, list[tuple[str, str]]]] = [
    (pair(USER, ANSWER), [("input.messages[1]", "the input ends with an assistant message")]),
    (pair({**USER, "weight": 1}), [("input.messages[0].weight", 'contains an extra "weight"')]),
    (pair(USER, {**ANSWER, "weight": 0}, USER), [("input.messages[1].weight", 'contains an extra "weight"')]),
    (pair(chosen=[{**ANSWER, "weight": 1}]), [("preferred_output[0].weight", 'contains an extra "weight"')]),
    (pair(chosen=[]), [("preferred_output", "is empty")]),
    (pair(chosen="text"), [("preferred_output", "expected an array, got a string")]),
    (pair(rejected=[ANSWER, ANSWER]), [("non_preferred_output", "is not one assistant message")]),
    (pair(rejected=[USER]), [("non_preferred_output", "is not one assistant message")]),
    (
        {"input": {"messages": [USER]}, "preferred_output": [ANSWER], "non_preferred_completion": [ANSWER]},
        [("", "mixes preferred_output and preferred_completion")],
    ),
    ({"input": {"messages": [USER]}, "preferred_output": [ANSWER]}, [("non_preferred_output", "is missing")]),
    ({"preferred_output": [ANSWER], "non_preferred_output": [ANSWER]}, [("input", "expected an object, got null")]),
    (pair() | {"input": {"messages": [], "prompt": "x"}}, [
        ("input.prompt", 'contains an extra "prompt"'), ("input.messages", "is empty"),
    ]),
    (pair(id=3), [("id", 'contains an extra "id"')]),
]  # fmt: skip


class TestProblems:
    @pytest.mark.parametrize(("bad", "expected"), BAD_CHATS)
    def test_of_chats_name_place_and_fault(self, bad: Any, expected: list[tuple[str, str]]) -> None:
        assert told(bad) == expected

    @pytest.mark.parametrize(("bad", "expected"), BAD_PAIRS)
    def test_of_pairs_name_place_and_fault(self, bad: Any, expected: list[tuple[str, str]]) -> None:
        assert told(bad, "preference") == expected

    def test_quick_look_passes_none_of_them(self) -> None:
        passed = [bad for bad, _ in BAD_CHATS if quick(json.dumps(bad).encode(), "chat")]
        passed += [bad for bad, _ in BAD_PAIRS if quick(json.dumps(bad).encode(), "preference")]
        assert passed == []

    def test_all_of_a_line_are_told(self) -> None:
        bad = chat({"role": "bot"}, {**USER, "content": None, "weight": 1}, {**CALLS, "x": 1}, extra=True)
        assert [path for path, _ in told(bad)] == [
            "extra", "messages[0].role", "messages[1].weight", "messages[1].content", "messages[2].x",
        ]  # fmt: skip

    def test_are_counted_beyond_what_is_kept(self) -> None:
        found = Found()
        examine(json.dumps(chat(*[{"role": "bot"}] * 1000, ANSWER)).encode(), "chat", found)
        assert (found.count, len(found.kept)) == (1000, MOST_OF_A_LINE)

    def test_quotes_are_short_and_harmless(self) -> None:
        (problem,) = told(chat({"role": "x\u0000\u001b[31m" * 10_000, "content": ""}, ANSWER))
        assert len(problem[1]) < QUOTE + 40
        assert problem[1].isprintable()


class TestJson:
    @pytest.mark.parametrize(
        ("line", "message"),
        [
            (b"{oops", "line contains invalid JSON: "),
            (b'{"messages": [}', "line contains invalid JSON: "),
            (b'{"messages":[]}{}', "line contains invalid JSON: "),
            (b'{"messages": NaN}', "line contains invalid JSON: "),
            (b"\x00", "line contains invalid JSON: a NUL byte"),
            (b'{"messages": 5, oops', "line contains invalid JSON: "),
            (b'\xef\xbb\xbf{"messages": []}', "line begins with a byte order mark"),
            (b'{"messages": "\\ud83d"}', "line contains half of a surrogate pair"),
            (b'{"messages": "\\uD83D x"}', "line contains half of a surrogate pair"),
            ('{"messages":"é"}'.encode("latin-1"), "the line is not in UTF-8"),
            (b'{"messages": "\xed\xa0\x80"}', "the line is not in UTF-8"),
            (b'{"messages": ' + b"[" * 100_000, "line contains invalid JSON: it is nested too deeply"),
            (b'{"x": ' + b"[" * 9_999 + b"]" * 9_999 + b"}", "line contains invalid JSON: it is nested too deeply"),
        ],
    )
    def test_that_cannot_be_read(self, line: bytes, message: str) -> None:
        [(path, text)] = told(line)
        assert path == ""
        assert text.startswith(message)

    @pytest.mark.parametrize("depth", [100, 500, 900, 1500, 3000])
    def test_any_depth_has_an_answer(self, depth: int) -> None:
        line = json.dumps(chat(USER, ANSWER, tools=[TOOL])).encode()
        deep = line.replace(b'"parameters": {}', b'"parameters": ' + b'{"a":' * depth + b"1" + b"}" * depth)
        found = Found()
        assert (examine(deep, "chat", found) is None) == bool(found.count)

    @pytest.mark.parametrize(
        ("value", "kind"), [([], "an array"), (3, "a number"), ("text", "a string"), (True, "a boolean")]
    )
    def test_that_is_no_object(self, value: Any, kind: str) -> None:
        assert told(value) == [("", f"expected a JSON object, got {kind}")]

    def test_array_is_told_about_imports(self) -> None:
        found = Found()
        examine(b"[{}]", "chat", found)
        assert "/v1/datasets/import" in found.kept[0].fix

    def test_line_that_is_too_long(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(problems, "MAX_LINE", 2 * 1024**2)
        assert told(b" " * (3 * 1024**2)) == [("", "the line is longer than 2 MB")]
        assert lines.MAX_LINE == 32 * 1024**2

    @pytest.mark.parametrize(
        ("line", "expected"),
        [
            (
                b'{"messages":[{"role":"user","content":"a","content":"b"},{"role":"assistant","content":"c"}]}',
                [("messages[0]", "key `content` appears twice, and readers of JSON keep only the last")],
            ),
            (
                b'{"messages":[],"messages":[{"role":"assistant","content":"c"}]}',
                [("", "key `messages` appears twice, and readers of JSON keep only the last")],
            ),
        ],
    )
    def test_repeated_keys(self, line: bytes, expected: list[tuple[str, str]]) -> None:
        assert told(line) == expected
        assert not quick(line, "chat")

    def test_many_repeated_keys_take_no_time(self) -> None:
        line = b'{"messages":[],' + b",".join(b'"k%d":1' % (number // 2) for number in range(100_000)) + b"}"
        assert len(told(line)) == MOST_OF_A_LINE


class TestFormats:
    def test_line_of_another_format(self) -> None:
        assert told(pair()) == [("", "the line is in the preference format, not in the chat format")]
        assert told(chat(USER, ANSWER), "preference") == [
            ("", "the line is in the chat format, not in the preference format")
        ]
        assert told({"prompt": "a", "completion": "b"}) == [
            ("", "the line is in the prompt/completion format, not in the chat format")
        ]

    def test_of_a_value(self) -> None:
        assert [format_of(value) for value in (chat(), pair(), {"prompt": 1, "completion": 2}, {}, [], 3)] == [
            "chat", "preference", "completions", None, None, None,
        ]  # fmt: skip


def test_typed_example_has_its_values() -> None:
    example: Any = examine(json.dumps(chat(USER, {**ANSWER, "x": None})).encode(), "chat", Found())
    assert [msgspec.to_builtins(each)["content"] for each in example.messages] == ["hi", "hello"]
