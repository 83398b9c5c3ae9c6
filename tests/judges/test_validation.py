"""Graders from JSON: what is taken, and every problem of what is not."""

from typing import Any

import msgspec
import pytest

from judges.graders import LabelModel, Multi, Python, ScoreModel, StringCheck, TextSimilarity
from judges.validation import MAX_GRADERS, MAX_PROBLEMS, InvalidGrader, inner_paths, lint, parse
from tests.judges.examples import CHECK, LABEL, MULTI, PYTHON, SCORE, SIMILARITY


def problems(raw: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidGrader) as error:
        parse(raw)
    return [(problem.path, problem.message) for problem in error.value.problems]


def paths(raw: Any) -> list[str]:
    return [path for path, _ in problems(raw)]


class TestParse:
    @pytest.mark.parametrize(
        ("raw", "kind"),
        [
            (CHECK, StringCheck), (SIMILARITY, TextSimilarity), (SCORE, ScoreModel), (LABEL, LabelModel),
            (PYTHON, Python), (MULTI, Multi),
        ],
    )  # fmt: skip
    def test_takes_every_kind_and_gives_it_back(self, raw: dict[str, Any], kind: type) -> None:
        grader = parse(raw)
        assert isinstance(grader, kind)
        assert msgspec.to_builtins(grader) == raw
        assert lint(grader) == []

    @pytest.mark.parametrize(
        "raw",
        [
            SIMILARITY | {"pass_threshold": 0.9},
            SCORE | {"range": [0, 10], "pass_threshold": 5, "sampling_params": {"temperature": 0, "seed": 1, "top_p": 1,
                     "max_completions_tokens": 100, "reasoning_effort": "low"}},
            SCORE | {"input": [{"role": "system", "content": "x", "type": "message"},
                     {"role": "developer", "content": [{"type": "input_text", "text": "a"}, "b"]},
                     {"role": "assistant", "content": {"type": "output_text", "text": "c"}}]},
            PYTHON | {"image_tag": "2025-05-08"},
            MULTI | {"graders": CHECK, "calculate_output": "c"},
            MULTI | {"graders": [CHECK, LABEL], "calculate_output": "c * l"},
            MULTI | {"graders": {"type": CHECK}, "calculate_output": "type"},
        ],
    )  # fmt: skip
    def test_takes_what_openais_guide_and_schema_have(self, raw: dict[str, Any]) -> None:
        grader = parse(raw)
        assert msgspec.to_builtins(grader) == raw
        assert lint(grader) == []

    def test_a_grader_without_a_name_gets_one(self) -> None:
        bare = {key: value for key, value in CHECK.items() if key != "name"}
        assert parse(bare).name == "string_check"
        multi = parse({"type": "multi", "graders": {"a": bare}, "calculate_output": "a"})
        assert isinstance(multi, Multi)
        assert (multi.name, multi.by_variable()["a"].name) == ("multi", "a")

    def test_paths_of_inner_graders(self) -> None:
        assert [path for path, _ in inner_paths(parse(MULTI))] == ["grader.graders.a", "grader.graders.b"]
        assert [path for path, _ in inner_paths(parse(MULTI | {"graders": [CHECK]}))] == ["grader.graders[0]"]
        assert [path for path, _ in inner_paths(parse(MULTI | {"graders": CHECK}))] == ["grader.graders"]
        assert [path for path, _ in inner_paths(parse(CHECK))] == ["grader"]


class TestProblems:
    @pytest.mark.parametrize("raw", [None, 3, "x", [], [CHECK]])
    def test_no_object(self, raw: Any) -> None:
        assert paths(raw) == ["grader"]

    @pytest.mark.parametrize("type", [None, 3, "string", "", ["multi"]])
    def test_no_known_type(self, type: Any) -> None:
        assert paths({"type": type}) == ["grader.type"]
        assert paths({}) == ["grader.type"]

    def test_all_of_them_at_once(self) -> None:
        found = problems({"type": "string_check", "name": 3, "input": None, "operation": "equals", "ref": "x"})
        assert {path for path, _ in found} == {
            "grader.name", "grader.input", "grader.operation", "grader.ref", "grader.reference",
        }  # fmt: skip
        assert dict(found)["grader.reference"] == "is missing"
        assert dict(found)["grader.ref"] == "is not known here"
        assert "enum value 'equals'" in dict(found)["grader.operation"]

    @pytest.mark.parametrize(
        ("change", "path"),
        [
            ({"input": []}, "grader.input"),
            ({"input": "Rate it"}, "grader.input"),
            ({"input": [{"role": "tool", "content": "x"}]}, "grader.input[0].role"),
            ({"input": [{"role": "user"}]}, "grader.input[0].content"),
            ({"input": [{"role": "user", "content": 3}]}, "grader.input[0].content"),
            (
                {"input": [{"role": "user", "content": ["a", {"type": "text", "text": "b"}]}]},
                "grader.input[0].content[1]",
            ),
            ({"input": [{"role": "user", "content": {"type": "input_text"}}]}, "grader.input[0].content"),
            ({"range": [1]}, "grader.range"),
            ({"range": [1, 0]}, "grader.range"),
            ({"range": [1, 1]}, "grader.range"),
            ({"range": [0, 1, 2]}, "grader.range"),
            ({"range": ["0", 1]}, "grader.range[0]"),
            ({"model": None}, "grader.model"),
            ({"sampling_params": {"temp": 1}}, "grader.sampling_params.temp"),
            ({"sampling_params": {"max_completions_tokens": 0}}, "grader.sampling_params.max_completions_tokens"),
            ({"sampling_params": 3}, "grader.sampling_params"),
        ],
    )
    def test_of_score_models(self, change: dict[str, Any], path: str) -> None:
        assert paths(SCORE | change) == [path]

    @pytest.mark.parametrize(("kind", "word"), [("input_image", "images"), ("input_audio", "audio")])
    def test_images_and_audio_are_refused_by_name(self, kind: str, word: str) -> None:
        content = ["text", {"type": kind, "image_url": "x"}]
        [(path, message)] = problems(SCORE | {"input": [{"role": "user", "content": content}]})
        assert path == "grader.input[0].content[1]"
        assert message.startswith(f"{word} cannot be graded here")

    @pytest.mark.parametrize(
        ("change", "path"),
        [
            ({"labels": []}, "grader.labels"),
            ({"labels": ["good", "good"]}, "grader.labels"),
            ({"labels": ["good", " "]}, "grader.labels"),
            ({"passing_labels": []}, "grader.passing_labels"),
            ({"passing_labels": ["great"]}, "grader.passing_labels"),
        ],
    )
    def test_of_label_models(self, change: dict[str, Any], path: str) -> None:
        assert path in paths(LABEL | change)

    @pytest.mark.parametrize(
        "source", ["", "def score(sample, item): return 1", "def grade(s, i):\n  return 1\n#" + "x" * 256_000]
    )
    def test_of_python(self, source: str) -> None:
        assert paths(PYTHON | {"source": source}) == ["grader.source"]

    @pytest.mark.parametrize(
        ("graders", "path"),
        [
            ({}, "grader.graders"),
            ([], "grader.graders"),
            (None, "grader.graders"),
            ({"a": CHECK, "b": MULTI}, "grader.graders.b"),
            ([CHECK, MULTI], "grader.graders[1]"),
            (MULTI, "grader.graders"),
            ({"a": {**CHECK, "operation": "is"}}, "grader.graders.a.operation"),
            ([CHECK, CHECK], "grader.graders"),
            ([CHECK | {"name": str(number)} for number in range(MAX_GRADERS + 1)], "grader.graders"),
        ],
    )
    def test_of_multi_graders(self, graders: Any, path: str) -> None:
        assert path in paths(MULTI | {"graders": graders})

    def test_of_a_multi_grader_and_its_parts_together(self) -> None:
        raw = {"type": "multi", "graders": {"a": {**CHECK, "operation": 1}, "b": {"type": "python"}}, "extra": 1}
        assert set(paths(raw)) == {
            "grader.extra", "grader.calculate_output", "grader.graders.a.operation", "grader.graders.b.source",
        }  # fmt: skip

    def test_their_number_is_bounded(self) -> None:
        graders = {f"g{number}": {"type": "nothing"} for number in range(MAX_GRADERS)}
        assert len(problems(MULTI | {"graders": graders})) == MAX_PROBLEMS

    def test_of_far_too_many_graders_and_labels_are_found_at_once(self) -> None:
        """Comparing each with each would take hours."""
        graders = [CHECK | {"name": str(number)} for number in range(100_000)]
        assert paths(MULTI | {"graders": graders}) == ["grader.graders"]
        labels = [f"label {number}" for number in range(100_000)]
        others = [f"other {number}" for number in range(100_000)]
        assert len(problems(LABEL | {"labels": labels, "passing_labels": others})) == MAX_PROBLEMS


class TestLint:
    def test_their_number_and_length_is_bounded(self) -> None:
        texts = [{"role": "user", "content": "{{ x }}"}] * 100
        assert len(lint(parse(LABEL | {"input": texts}))) == MAX_PROBLEMS
        long = {"a" * 100_000: CHECK}
        found = lint(parse(MULTI | {"graders": long, "calculate_output": "+".join(f"b{n}" for n in range(300))}))
        assert len(found) == MAX_PROBLEMS
        assert all(len(problem.message) < 1000 for problem in found)

    def test_templates_and_formula_with_their_paths(self) -> None:
        raw = MULTI | {
            "graders": {
                "a": CHECK | {"input": "{{ itm.x }}", "reference": "{{ sample.nothing }}"},
                "b": LABEL
                | {"input": [{"role": "user", "content": ["fine", {"type": "input_text", "text": "{{ x }}"}]}]},
            },
            "calculate_output": "a + c + d",
        }
        assert [problem.path for problem in lint(parse(raw))] == [
            "grader.calculate_output", "grader.calculate_output",
            "grader.graders.a.input", "grader.graders.a.reference", "grader.graders.b.input[0].content[1].text",
        ]  # fmt: skip

    def test_a_formula_that_cannot_be_read(self) -> None:
        [problem] = lint(parse(MULTI | {"calculate_output": "a +* b"}))
        assert (problem.path, "at character 4" in problem.message) == ("grader.calculate_output", True)
