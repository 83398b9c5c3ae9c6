import json
from pathlib import Path
from typing import Any

import pytest

from gateway.fine_tuning import validation
from gateway.fine_tuning.validation import MAX_PROBLEMS, PROBLEM_LIMIT, problem_of, validate_chat_file
from tests.fakes.fine_tuning import example, jsonl

CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Bern"}'}}
USER = {"role": "user", "content": "hi"}
ANSWER = {"role": "assistant", "content": "hello"}


def problem(value: Any) -> str | None:
    return problem_of(json.dumps(value).encode())


def chat(*messages: Any, **fields: Any) -> dict[str, Any]:
    return {"messages": list(messages), **fields}


class TestGoodExamples:
    @pytest.mark.parametrize(
        "good",
        [
            chat(USER, ANSWER),
            chat(ANSWER),
            chat({"role": "system", "content": "be kind"}, USER, ANSWER),
            chat({"role": "developer", "content": "be kind"}, USER, ANSWER),
            chat(USER, {**ANSWER, "weight": 0}, USER, {**ANSWER, "weight": 1}),
            chat(USER, {**ANSWER, "weight": None}),
            chat(USER, {**ANSWER, "name": "bot", "refusal": None, "audio": None}),
            chat({"role": "user", "content": [{"type": "text", "text": "hi"}]}, ANSWER),
            chat(USER, {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}),
            chat(USER, {"role": "assistant", "tool_calls": [CALL]}),
            chat(
                USER,
                {"role": "assistant", "content": None, "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
                ANSWER,
                tools=[{"type": "function", "function": {"name": "weather", "parameters": {}}}],
                parallel_tool_calls=False,
            ),
            chat(
                USER,
                {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": ""}},
                {"role": "function", "name": "f", "content": "1"},
                ANSWER,
                functions=[{"name": "f"}],
            ),
            chat(USER, {**ANSWER, "content": ""}),
        ],
    )
    def test_is_no_problem(self, good: dict[str, Any]) -> None:
        assert problem(good) is None


class TestProblems:
    @pytest.mark.parametrize(
        ("bad", "told"),
        [
            (chat(), "`messages` is empty"),
            ({"messages": None}, "`messages`: expected `array`, got `null`"),
            (chat({"content": "hi"}), "`messages[0]`: missing required field `role`"),
            (chat(USER, {**ANSWER, "role": "bot"}), "`messages[1].role`: invalid enum value 'bot'"),
            (chat({**USER, "content": 3}, ANSWER), "`messages[0].content`: expected `str | array | null`, got `int`"),
            (chat(USER, {**ANSWER, "weight": 2}), "`messages[1].weight`: invalid enum value 2"),
            (chat(USER, {**ANSWER, "weight": 0.5}), "`messages[1].weight`: expected `int | null`, got `float`"),
            (
                chat({**USER, "weight": 1}, ANSWER),
                "message 1 has a weight, which only assistant messages may have (role user)",
            ),
            (chat(USER), "there is no assistant message to learn from (all are missing or have weight 0)"),
            (
                chat(USER, {**ANSWER, "weight": 0}),
                "there is no assistant message to learn from (all are missing or have weight 0)",
            ),
            (chat(USER, {"role": "assistant"}), "message 2 has neither `content` nor `tool_calls`"),
            (chat(USER, {"role": "assistant", "tool_calls": []}), "message 2 has neither `content` nor `tool_calls`"),
            (chat({"role": "user"}, ANSWER), "message 1 has no `content` (role user)"),
            (chat(USER, {"role": "tool", "content": "1"}, ANSWER), "message 2 has no `tool_call_id`"),
            (
                chat({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}, ANSWER),
                "message 1 has content that is not text; images and audio cannot be trained on here",
            ),
            (
                chat({"role": "user", "content": [{"type": "text"}]}, ANSWER),
                "message 1 has a part of type `text` without its `text`",
            ),
            (
                chat(USER, {"role": "assistant", "tool_calls": [{**CALL, "type": "custom"}]}),
                "`messages[1].tool_calls[0].type`: invalid enum value 'custom'",
            ),
            (
                chat(USER, {"role": "assistant", "tool_calls": [{"id": "1", "type": "function"}]}),
                "`messages[1].tool_calls[0]`: missing required field `function`",
            ),
            (
                chat(
                    USER, {"role": "assistant", "tool_calls": [{**CALL, "function": {"name": "f", "arguments": "{"}}]}
                ),
                "message 2 calls `f` with `arguments` that are not valid JSON",
            ),
            (
                chat(USER, {"role": "assistant", "function_call": {"name": "f", "arguments": "x"}}),
                "message 2 calls `f` with `arguments` that are not valid JSON",
            ),
            (chat(USER, ANSWER, tools={}), "`tools`: expected `array | null`, got `object`"),
            (chat(USER, ANSWER, parallel_tool_calls="yes"), "`parallel_tool_calls`: expected `bool | null`, got `str`"),
        ],
    )
    def test_names_place_and_fault(self, bad: dict[str, Any], told: str) -> None:
        assert problem(bad) == told

    def test_preference_file_is_named_as_such(self) -> None:
        for chosen in ("preferred_output", "preferred_completion"):
            told = problem({"input": chat(USER), chosen: [ANSWER], "non_preferred_output": [ANSWER]})
            assert told == "the file is in the preference format, but the job's method is 'supervised'"

    def test_prompt_completion_file_is_named_as_such(self) -> None:
        told = problem({"prompt": "a", "completion": "b"}) or ""
        assert told.startswith("prompt/completion pairs are not chat messages; write {")

    def test_object_of_no_known_kind(self) -> None:
        assert problem({"text": "hello"}) == "missing required field `messages`"

    @pytest.mark.parametrize("value", [[], 3, "text", None, True])
    def test_line_that_is_no_object(self, value: Any) -> None:
        assert problem(value) == "expected a JSON object with `messages`"

    @pytest.mark.parametrize(
        "line", [b"{oops", b'{"messages": [}', b'{"messages":[]}{}', b"\x00", b'{"messages": 5, oops']
    )
    def test_line_that_is_no_json(self, line: bytes) -> None:
        assert (problem_of(line) or "").startswith("line contains invalid JSON: ")

    @pytest.mark.parametrize(
        "line", [b'{"messages": ' + b"[" * 100_000, b'{"x": ' + b"[" * 9_999 + b"]" * 9_999 + b"}"]
    )
    def test_nesting_without_end(self, line: bytes) -> None:
        assert problem_of(line) == "line contains invalid JSON: it is nested too deeply"

    def test_encoding_that_is_not_utf_8(self) -> None:
        line = '{"messages":[{"role":"user","content":"é"}]}'.encode("latin-1")
        assert problem_of(line) == "line is not in UTF-8; save the file with that encoding"


class TestValidateChatFile:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "file.jsonl"

    def test_blank_lines_crlf_and_byte_order_mark_are_fine(self, path: Path) -> None:
        line = json.dumps(example("ümlaut")).encode()
        path.write_bytes(b"\xef\xbb\xbf" + line + b"\r\n\r\n   \n" + line + b"\n" + line)
        report = validate_chat_file(path)
        assert (report.examples, report.bad, report.problems) == (3, 0, [])

    def test_problem_names_example_and_line(self, path: Path) -> None:
        path.write_bytes(b"\n" + jsonl(example()) + b"\n\n{}\n" + jsonl(example()))
        report = validate_chat_file(path)
        assert report.problems == ["Example 2 (line 5): missing required field `messages`"]
        assert report.examples == 3

    def test_problems_are_counted_but_only_some_are_kept(self, path: Path) -> None:
        path.write_bytes(b"{}\n" * 1000)
        report = validate_chat_file(path)
        assert report.bad == 1000
        assert len(report.problems) == MAX_PROBLEMS

    def test_quoted_value_is_cut(self, path: Path) -> None:
        path.write_bytes(jsonl(chat({"role": "x" * 100_000, "content": "hi"})))
        (told,) = validate_chat_file(path).problems
        assert len(told) < PROBLEM_LIMIT + 100
        assert told.endswith(" ...")

    def test_line_that_is_too_long_does_not_hide_those_behind_it(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(validation, "MAX_LINE", 1000)
        long = jsonl(example("x" * 5000))
        path.write_bytes(jsonl(example()) + long + jsonl(example()) + b"{}\n" + long.rstrip(b"\n"))
        report = validate_chat_file(path)
        assert report.examples == 5
        assert [problem.split(":")[0] for problem in report.problems] == [
            "Example 2 (line 2)",
            "Example 4 (line 4)",
            "Example 5 (line 5)",
        ]
        assert "the line is longer than" in report.problems[0]

    def test_line_of_just_the_limit_is_fine(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        line = json.dumps(example("x" * 500)).encode()
        monkeypatch.setattr(validation, "MAX_LINE", len(line) + 1)
        path.write_bytes((line + b"\n") * 3)
        assert validate_chat_file(path).bad == 0

    def test_mixed_formats_name_each_line(self, path: Path) -> None:
        path.write_bytes(jsonl(example(), {"prompt": "a", "completion": "b"}, [1]))
        assert [problem.split(":")[0] for problem in validate_chat_file(path).problems] == [
            "Example 2 (line 2)",
            "Example 3 (line 3)",
        ]

    def test_empty_file_holds_nothing(self, path: Path) -> None:
        path.write_bytes(b"")
        assert validate_chat_file(path).examples == 0
