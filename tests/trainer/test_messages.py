"""No ML here: the rules are plain JSON in, plain JSON out. `tests/vllm` holds them against vLLM's."""

import json
import subprocess
import sys
from typing import Any

import pytest

from trainer.messages import Unreadable, for_template, text_of, tools_for_template


def read(trained: bool = False, **message: Any) -> dict[str, Any]:
    return for_template([message], trained=(0,) if trained else ())[0]


def call(arguments: Any, **fields: Any) -> dict[str, Any]:
    return {"id": "c1", "type": "function", "function": {"name": "f", "arguments": arguments, **fields}}


def problem(*, trained: bool = False, **message: Any) -> Unreadable:
    with pytest.raises(Unreadable) as caught:
        read(trained, **message)
    return caught.value


class TestContent:
    @pytest.mark.parametrize("text", ["", " ", "a\r\nb", "a\x00b", "<|im_end|>", "e\u0301 🌹", "x" * 1_000_000])
    @pytest.mark.parametrize("role", ["system", "developer", "user", "assistant", "tool"])
    def test_text_is_never_touched(self, role: str, text: str):
        assert read(role=role, content=text)["content"] == text

    def test_of_an_assistant_may_be_null(self):
        assert text_of(read(role="assistant", content=None)["content"]) == ""
        assert text_of(read(role="assistant")["content"]) == ""

    @pytest.mark.parametrize("role", ["system", "developer", "user", "tool", "function"])
    def test_of_others_must_be_there(self, role: str):
        assert problem(role=role, content=None).path == "messages[0].content"

    def test_parts_stay_parts(self):
        parts = [{"type": "text", "text": "a", "cache_control": {}}, {"type": "text", "text": ""}]
        expected = [{"type": "text", "text": "a"}, {"type": "text", "text": ""}]
        assert read(role="user", content=parts)["content"] == expected

    def test_parts_are_joined_for_templates_that_read_text(self):
        parts = [{"type": "text", "text": text} for text in ("a", "", "b")]
        assert text_of(read(role="user", content=parts)["content"]) == "a\nb"

    def test_a_tools_result_is_text(self):
        parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
        assert read(role="tool", tool_call_id="c1", content=parts) == {
            "role": "tool",
            "content": "a\nb",
            "tool_call_id": "c1",
        }

    @pytest.mark.parametrize(
        "part",
        [
            {"type": "refusal", "refusal": "a"},
            {"type": "thinking", "thinking": "a"},
            {"type": "input_text", "text": "a"},
            {"type": "output_text", "text": "a"},
        ],
    )
    def test_refusals_and_thoughts_are_text(self, part: dict[str, str]):
        assert read(role="assistant", content=[part])["content"] == [{"type": "text", "text": "a"}]

    @pytest.mark.parametrize(
        ("part", "kind", "path"),
        [
            ("a", "invalid", ""),
            ({}, "missing", ".type"),
            ({"type": "text"}, "missing", ".text"),
            ({"type": "text", "text": 1}, "invalid", ".text"),
            ({"type": "refusal", "text": "a"}, "missing", ".refusal"),
            ({"type": "image_url", "image_url": {"url": "x"}}, "unsupported", ""),
            ({"type": "input_audio"}, "unsupported", ""),
        ],
    )
    def test_other_parts_are_refused(self, part: Any, kind: str, path: str):
        found = problem(role="user", content=[{"type": "text", "text": "a"}, part])
        assert (found.kind, found.path) == (kind, f"messages[0].content[1]{path}")


class TestArguments:
    @pytest.mark.parametrize("arguments", ["", "  ", None, "{}", {}])
    @pytest.mark.parametrize("trained", [True, False])
    def test_none_are_an_empty_object(self, trained: bool, arguments: Any):
        (written,) = read(trained, role="assistant", tool_calls=[call(arguments)])["tool_calls"]
        assert written["function"]["arguments"] == {}

    @pytest.mark.parametrize("arguments", ['{"b": 1, "a": {"x": null}}', {"b": 1, "a": {"x": None}}])
    def test_are_an_object_in_the_order_they_came_in(self, arguments: Any):
        (written,) = read(True, role="assistant", tool_calls=[call(arguments)])["tool_calls"]
        assert json.dumps(written["function"]["arguments"]) == '{"b": 1, "a": {"x": null}}'

    BROKEN = ["{oops", "[]", "42", "null", '"text"', json.dumps('{"city": "Paris"}'), [1], "[" * 100_000]

    @pytest.mark.parametrize("arguments", BROKEN)
    def test_that_are_no_object_are_empty_in_what_a_model_reads(self, arguments: Any):
        (written,) = read(role="assistant", tool_calls=[call(arguments)])["tool_calls"]
        assert written["function"]["arguments"] == {}

    @pytest.mark.parametrize("arguments", BROKEN)
    def test_that_are_no_object_are_refused_where_a_model_would_learn_them(self, arguments: Any):
        found = problem(trained=True, role="assistant", tool_calls=[call("{}"), call(arguments)])
        assert found.path == "messages[0].tool_calls[1].function.arguments"
        assert "encoded once" in found.reason or "not valid JSON" in found.reason

    def test_half_a_surrogate_pair_is_refused_everywhere(self):
        assert "surrogate" in problem(role="assistant", tool_calls=[call('{"a": "\\ud83d"}')]).reason
        (written,) = read(role="assistant", tool_calls=[call('{"a": "\\ud83d\\ude00"}')])["tool_calls"]
        assert written["function"]["arguments"] == {"a": "😀"}


class TestToolCalls:
    def test_have_their_fields_in_vllms_order(self):
        given = {"index": 0, "type": "function", "function": {"name": "f", "arguments": "{}", "x": 1}, "id": "c1"}
        (written,) = read(role="assistant", tool_calls=[given])["tool_calls"]
        assert json.dumps(written) == json.dumps(
            {"id": "c1", "function": {"arguments": {}, "name": "f", "x": 1}, "type": "function", "index": 0}
        )

    @pytest.mark.parametrize("calls", [[], None])
    def test_none_leave_no_field(self, calls: Any):
        assert "tool_calls" not in read(role="assistant", content="a", tool_calls=calls)

    def test_deprecated_functions_are_tools(self):
        calling, answer = for_template(
            [
                {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"x": 1}'}},
                {"role": "function", "name": "f", "content": "1"},
            ]
        )
        assert calling["tool_calls"] == [{"function": {"arguments": {"x": 1}, "name": "f"}, "type": "function"}]
        assert answer == {"role": "tool", "content": "1", "name": "f"}

    @pytest.mark.parametrize(
        ("wrong", "kind", "path"),
        [
            ("f", "invalid", ""),
            ({"type": "custom", "custom": {"name": "f"}}, "unsupported", ""),
            ({"type": "function"}, "missing", ".function.name"),
            ({"function": {"arguments": "{}"}}, "missing", ".function.name"),
        ],
    )
    def test_others_are_refused(self, wrong: Any, kind: str, path: str):
        found = problem(role="assistant", tool_calls=[wrong])
        assert (found.kind, found.path) == (kind, f"messages[0].tool_calls[0]{path}")


class TestFields:
    def test_others_than_a_templates_are_left_out(self):
        message = {"role": "assistant", "content": "a", "weight": 0, "refusal": "no", "audio": None, "made_up": 1}
        assert read(**message) == {"role": "assistant", "content": "a"}

    @pytest.mark.parametrize("role", ["system", "developer", "user", "assistant", "tool"])
    def test_a_name_stays(self, role: str):
        assert read(role=role, content="a", name="bob")["name"] == "bob"
        assert "name" not in read(role=role, content="a", name=None)

    def test_a_name_is_text(self):
        assert problem(role="user", content="a", name=5).path == "messages[0].name"

    @pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
    def test_reasoning_has_both_its_names(self, field: str):
        expected = {"role": "assistant", "content": "a", "reasoning": "r", "reasoning_content": "r"}
        assert read(role="assistant", content="a", **{field: "r"}) == expected

    def test_reasoning_is_an_assistants(self):
        assert read(role="user", content="a", reasoning="r") == {"role": "user", "content": "a"}

    def test_a_developers_tools_stay(self):
        assert read(role="developer", content="a", tools=[{}])["tools"] == [{}]

    def test_a_trained_refusal_must_be_content(self):
        refusal = {"role": "assistant", "content": None, "refusal": "no"}
        assert problem(trained=True, **refusal).path == "messages[0].refusal"
        assert text_of(read(**refusal)["content"]) == ""


class TestConversations:
    @pytest.mark.parametrize(
        "roles", [["assistant"], ["system"], ["system", "assistant"], ["user", "system", "user"], ["user", "user"]]
    )
    def test_any_order_of_roles_is_the_templates_to_judge(self, roles: list[str]):
        assert [turn["role"] for turn in for_template([{"role": role, "content": "a"} for role in roles])] == roles

    @pytest.mark.parametrize("role", ["robot", "", 5, []])
    def test_unknown_roles_are_refused(self, role: Any):
        assert problem(role=role, content="a").path == "messages[0].role"

    def test_what_is_no_message_is_refused(self):
        with pytest.raises(Unreadable, match=r"messages\[1\]: expected an object"):
            for_template([{"role": "user", "content": "a"}, "b"])


class TestTools:
    def test_have_vllms_fields_in_vllms_order(self):
        given = {
            "made_up": 1,
            "function": {"strict": False, "parameters": {"b": 1, "a": 2}, "name": "f", "x": 1},
            "type": "function",
        }
        function = {"name": "f", "description": None, "parameters": {"b": 1, "a": 2}, "strict": False}
        assert json.dumps(tools_for_template([given])) == json.dumps([{"type": "function", "function": function}])

    def test_functions_are_tools(self):
        expected = [{"type": "function", "function": {"name": "f", "description": "d", "parameters": None}}]
        assert tools_for_template(None, [{"name": "f", "description": "d"}]) == expected

    @pytest.mark.parametrize("none", [None, []])
    def test_none_are_none(self, none: Any):
        assert tools_for_template(none, none) is None

    @pytest.mark.parametrize(
        ("tools", "kind", "path"),
        [
            ({}, "invalid", "tools"),
            ("f", "invalid", "tools"),
            (["f"], "invalid", "tools[0]"),
            ([{"type": "custom"}], "unsupported", "tools[0]"),
            ([{"function": {}}], "missing", "tools[0].function.name"),
            ([{"function": {"name": "f", "parameters": "x"}}], "invalid", "tools[0].function.parameters"),
            ([{"function": {"name": "f", "description": 5}}], "invalid", "tools[0].function.description"),
        ],
    )
    def test_others_are_refused(self, tools: Any, kind: str, path: str):
        with pytest.raises(Unreadable) as caught:
            tools_for_template(tools)
        assert (caught.value.kind, caught.value.path) == (kind, path)


def test_needs_no_ml():
    code = "import sys, trainer.messages; sys.exit(bool({'torch', 'transformers', 'jinja2'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
