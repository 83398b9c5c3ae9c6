"""Fields of items, guessed and corrected."""

from typing import Any

import pytest

from admin.console.evals import item_fields
from admin.console.evals.item_fields import Found


def schema(**types: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {name: {"type": kind} for name, kind in types.items()}, "required": []}


class TestGuesses:
    @pytest.mark.parametrize(
        ("types", "question", "answer"),
        [
            ({"ticket": "string", "label": "string"}, "ticket", "label"),
            ({"label": "string", "ticket": "string"}, "ticket", "label"),
            ({"first": "string", "second": "string"}, "first", "second"),
            ({"input": "array", "expected": "string"}, "input", "expected"),
            ({"question": "string"}, "question", ""),
            ({"Question": "string", "Correct Answer": "string", "note": "string"}, "Question", "Correct Answer"),
            ({"question": "string", "answer": "integer"}, "question", "answer"),
            ({"n": "integer"}, "", ""),
        ],
    )
    def test_by_names_then_by_place(self, types: dict[str, str], question: str, answer: str) -> None:
        found = schema(**types)
        assert (item_fields.question_in(found), item_fields.answer_in(found)) == (question, answer)

    def test_the_database_sorts_names_and_the_guess_stays(self) -> None:
        """JSON in PostgreSQL keeps no order of names."""
        found = schema(aa="string", zz="string") | {"required": ["zz", "aa"]}
        assert item_fields.answer_in(found) == "aa"
        assert item_fields.question_in(found) == "zz"


class TestCorrections:
    FOUND = Found(
        file_id="file-1",
        schema=schema(a="string", b=["integer", "string"], c="array")
        | {"required": ["a"]},
        examples=[{"a": "x"}],
    )  # fmt: skip

    def test_as_found_before_anything_is_filled_in(self) -> None:
        assert item_fields.schema_of(self.FOUND, {}) == self.FOUND.schema
        [a, b, _] = item_fields.rows_of(self.FOUND, {})
        assert (a["example"], a["required"], b["type"], b["required"]) == ("x", True, "integer or string", False)

    def test_what_is_corrected(self) -> None:
        form = {
            "fields_shown": "true", "f0_type": "number", "f1_type": "integer or string", "f1_required": "true", "f2_type": "anything",
        }  # fmt: skip
        assert item_fields.schema_of(self.FOUND, form) == {
            "type": "object",
            "properties": {"a": {"type": "number"}, "b": {"type": ["integer", "string"]}, "c": {}},
            "required": ["b"],
        }

    def test_fields_beyond_those_that_are_shown_stay(self) -> None:
        many = schema(**{f"f{n}": "string" for n in range(100)})
        found = Found(file_id="file-1", schema=many | {"required": ["f0", "f99"]})
        corrected = item_fields.schema_of(found, {"fields_shown": "true"})
        assert (len(corrected["properties"]), corrected["required"]) == (100, ["f99"])


class TestCarriedAlong:
    def test_there_and_back(self) -> None:
        assert item_fields.read(TestCorrections.FOUND.written()) == TestCorrections.FOUND

    @pytest.mark.parametrize("broken", [None, "", "{", "[]", '{"items": "x"}', '{"schema": {"properties": []}}'])
    def test_what_is_broken_is_nothing(self, broken: Any) -> None:
        assert item_fields.read(broken) is None

    def test_what_is_required_may_be_nonsense(self) -> None:
        assert item_fields.names_of(schema(a="string") | {"required": [[], "b", 5, "a"]}) == ["a"]

    def test_long_examples_are_cut(self) -> None:
        looked = {
            "items": 1, "with_sample": 0, "layout": "table", "ready": False, "item_schema": {}, "notes": [],
            "examples": [{"a": "x" * 500}] * 5, "skipped": {"count": 1, "rows": [{"row": 7, "reason": "is empty"}]},
        }  # fmt: skip
        found = item_fields.found_in({"id": "file-1", "filename": "a.csv"}, looked, None)
        assert len(found.examples) == item_fields.SHOWN_EXAMPLES
        assert len(found.examples[0]["a"]) == item_fields.SHOWN_TEXT
        assert found.notes == ["Row 7 is empty."]
