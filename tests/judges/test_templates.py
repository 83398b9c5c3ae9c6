"""Templates: what they put in, what they refuse, and that a sample cannot become one."""

from typing import Any

import pytest

from judges.grade import GraderFailed
from judges.graders import EvalItem
from judges.messages import rendered
from judges.sample import Sample
from judges.templates import MAX_INSERTED, MAX_PROBLEMS, MAX_VALUES, problems, render

ITEM: dict[str, Any] = {
    "answer": "Paris",
    "n": 3,
    "ratio": 1.0,
    "yes": True,
    "nothing": None,
    "nested": {"list": [{"name": "first"}, {"name": "second"}], "my-key": "dashed", "any key": "quoted"},
    "é": "accent",
}
TOOLS = [{"id": "call_1", "type": "function", "function": {"name": "get", "arguments": '{"a": 1}'}}]
JSON_SAMPLE = Sample.of_text('{"name": "Ann", "tags": ["x", "y"]}')


def text(template: str, sample: Sample = JSON_SAMPLE) -> str:
    return render(template, sample, ITEM).text


class TestRender:
    @pytest.mark.parametrize(
        ("template", "expected"),
        [
            ("plain", "plain"),
            ("{{ item.answer }}", "Paris"),
            ("{{item.answer}}!", "Paris!"),
            ("{{item.answer}}{{item.n}}", "Paris3"),
            ("{{ item.nested.list[0].name }}", "first"),
            ("{{ item.nested.list[-1].name }}", "second"),
            ("{{ item.nested.list.1.name }}", "second"),
            ("{{ item.nested.my-key }}", "dashed"),
            ('{{ item.nested["any key"] }}', "quoted"),
            ("{{ item['nested']['any key'] }}", "quoted"),
            ("{{ item.é }}", "accent"),
            ("{{ item.ratio }} {{ item.yes }} {{ item.nothing }}", "1.0 true null"),
            ("{{ item.nested.list }}", '[{"name":"first"},{"name":"second"}]'),
            ("{{ sample.output_json.tags[1] }}", "y"),
            ("{{ sample.output_json }}", '{"name":"Ann","tags":["x","y"]}'),
            ("{{ sample.choices[0].message.content }}", '{"name": "Ann", "tags": ["x", "y"]}'),
            ("{{ sample.output_tools }}", "[]"),
            ('{"json": {"braces": 1}}', '{"json": {"braces": 1}}'),
        ],
    )
    def test_values(self, template: str, expected: str) -> None:
        assert text(template) == expected

    def test_tool_calls(self) -> None:
        sample = Sample("", output_tools=TOOLS)
        assert text("{{sample.output_tools[0].function.name}}", sample) == "get"
        assert text("{{sample.output_tools[0].function.arguments}}", sample) == '{"a": 1}'

    def test_tells_what_it_put_in(self) -> None:
        assert render("a {{ item.answer }} b {{ item.n }}", JSON_SAMPLE, ITEM).values == ("Paris", "3")

    @pytest.mark.parametrize(
        "payload",
        ["{{ item.answer }}", "{{ item.secret }}", "}} {{ item.answer }}", "{{", "\\g<0>", "{{ sample.output_text }}"],
    )
    def test_a_sample_is_never_rendered_again(self, payload: str) -> None:
        assert text("<{{ sample.output_text }}>", Sample.of_text(payload)) == f"<{payload}>"

    def test_pieces_do_not_join_to_a_template(self) -> None:
        item = {"a": "{{ item", "b": ".secret }}", "secret": "s"}
        assert render("{{ item.a }}{{ item.b }}", JSON_SAMPLE, item).text == "{{ item.secret }}"

    @pytest.mark.parametrize(
        ("template", "told"),
        [
            ("{{ item.missing }}", "there is no item.missing"),
            ("{{ item.nested.list[2].name }}", "there is no item.nested.list[2]"),
            ("{{ item.answer.length }}", "there is no item.answer.length"),
            ("{{ item.answer[0] }}", "there is no item.answer[0]"),
            ("{{ item.nothing.x }}", "there is no item.nothing.x"),
            ('{{ item["no such"] }}', 'there is no item["no such"]'),
            ("{{ sample.output_tools[0].function.name }}", "there is no sample.output_tools[0]"),
            ("{{ sample.output_audio.data }}", "there is no sample.output_audio"),
            ("{{ sample.text }}", "names no variable of sample"),
            ("{{ system.path }}", "no known namespace"),
            ("{{ item }}", "names no variable of item"),
            ("{{ item.nested.list." + "9" * 5000 + " }}", "there is no item.nested.list"),
            ("{{ item.nested.list[" + "9" * 18 + "] }}", "there is no item.nested.list["),
        ],
    )
    def test_a_path_to_nowhere(self, template: str, told: str) -> None:
        with pytest.raises(GraderFailed) as error:
            text(template)
        assert error.value.failure.flag == "invalid_variable_error"
        assert told in error.value.failure.details

    def test_json_of_a_sample_that_is_none(self) -> None:
        with pytest.raises(GraderFailed) as error:
            text("{{ sample.output_json.name }}", Sample.of_text("Ann"))
        assert error.value.failure.flag == "sample_parse_error"

    @pytest.mark.parametrize(
        ("template", "sample"),
        [
            ("{{ sample.output_text }}" * 11, "x" * (MAX_INSERTED // 10)),
            ("{{ sample.output_text }}" * (MAX_VALUES + 1), ""),
        ],
    )
    def test_a_text_that_would_fill_the_memory(self, template: str, sample: str) -> None:
        with pytest.raises(GraderFailed) as error:
            text(template, Sample.of_text(sample))
        assert error.value.failure.flag == "truncated_observation_error"

    def test_messages_that_would_fill_the_memory_together(self) -> None:
        sample = Sample.of_text("x" * (MAX_INSERTED // 10))
        items = [EvalItem(role="user", content="{{ sample.output_text }}")] * 11
        assert len(rendered(items[:10], sample, {})[0]) == 10
        with pytest.raises(GraderFailed) as error:
            rendered(items, sample, {})
        assert error.value.failure.flag == "truncated_observation_error"


class TestProblems:
    @pytest.mark.parametrize(
        "template", ["", "plain", "{{ item.a }}", "{{ sample.output_text }}", '{"a": {"b": 1}}', "}}", "{ {"]
    )
    def test_none(self, template: str) -> None:
        assert problems(template) == []

    @pytest.mark.parametrize("template", ["{{", "{{ x }}", "{{ item[" + "9" * 5000 + "] }}"])
    def test_their_number_is_bounded(self, template: str) -> None:
        assert 1 <= len(problems(template * 100)) <= MAX_PROBLEMS

    def test_every_one_of_them(self) -> None:
        found = problems("{{ itm.a }} {{ sample.outputs }} {{ item }} {{ 1+1 }} {{ item.a.")
        assert [len(found), *[word in " ".join(found) for word in ("itm.a", "outputs", "{{ item }}", "1+1")]] == [
            5, True, True, True, True,
        ]  # fmt: skip


class TestSample:
    @pytest.mark.parametrize(("text", "value"), [("3", 3), ("null", None), ('"a"', "a"), (' {"a": 1}\n', {"a": 1})])
    def test_json(self, text: str, value: Any) -> None:
        assert Sample.of_text(text).variables()["output_json"] == value

    @pytest.mark.parametrize("text", ["", "Paris", "{'a': 1}", "[" * 10_000, "\ud800", "{} {}"])
    def test_no_json(self, text: str) -> None:
        assert "output_json" not in Sample.of_text(text).variables()
