"""Values by criteria."""

from typing import Any

import pytest

from gateway.db.tables import CriterionRow
from gateway.errors import InvalidRequest
from gateway.judgments.values import assistant_message, measured

CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def criterion(kind: str, **changes: Any) -> CriterionRow:
    plain: dict[str, Any] = {
        "name": "c",
        "kind": kind,
        "direction": "max",
        "lowest": 1.0,
        "highest": 5.0,
        "pass_score": 0.75,
        "labels": ["good", "fair", "bad"],
        "passing_labels": ["good"],
    }
    return CriterionRow(**plain | changes)


class TestMeasured:
    @pytest.mark.parametrize(
        ("row", "value", "score", "passed"),
        [
            (criterion("boolean"), True, 1.0, True),
            (criterion("boolean"), False, 0.0, False),
            (criterion("boolean", direction="min"), True, 0.0, False),
            (criterion("boolean", direction="min"), False, 1.0, True),
            (criterion("numeric"), 1, 0.0, False),
            (criterion("numeric"), 3.9, 0.725, False),
            (criterion("numeric"), 4, 0.75, True),
            (criterion("numeric", pass_score=None), 4, 0.75, None),
            (criterion("numeric", direction="min"), 1, 1.0, True),
            (criterion("numeric", direction="min"), 5.0, 0.0, False),
            (criterion("numeric", lowest=-1.0, highest=1.0), 0, 0.5, False),
            (criterion("categorical"), "good", 1.0, True),
            (criterion("categorical"), "fair", 0.5, False),
            (criterion("categorical", passing_labels=None), "bad", 0.0, None),
        ],
    )
    def test_is_a_score_from_0_to_1_where_more_is_better(
        self, row: CriterionRow, value: Any, score: float, passed: bool | None
    ) -> None:
        found = measured(row, value)
        assert found["score"] == pytest.approx(score)
        assert (found["passed"], found["raw_value"]) == (passed, value)

    @pytest.mark.parametrize(("value", "score"), [("a", 1.0), ("b", 0.0), ("tie", 0.5), ("both_bad", 0.5)])
    def test_a_preference_is_the_win_of_the_first(self, value: str, score: float) -> None:
        assert measured(criterion("pairwise"), value) == {"preference": value, "score": score}

    def test_a_text_and_an_edit_measure_nothing(self) -> None:
        assert measured(criterion("text"), "Too long.") == {"rationale": "Too long."}
        assert measured(criterion("edit"), "Yes.") == {"edited_message": {"role": "assistant", "content": "Yes."}}

    @pytest.mark.parametrize(
        ("kind", "value"),
        [
            ("boolean", 1), ("boolean", "true"), ("numeric", True), ("numeric", 0.99), ("numeric", 5.01),
            ("numeric", "4"), ("numeric", 10**400), ("categorical", "worse"), ("categorical", 1), ("pairwise", "c"),
            ("pairwise", 1), ("text", "  "), ("text", 4), ("text", "x" * 100_001), ("edit", ""), ("edit", 4),
            ("categorical", ["good"]), ("pairwise", ["a"]),
        ],
    )  # fmt: skip
    def test_what_it_does_not_take_is_refused(self, kind: str, value: Any) -> None:
        with pytest.raises(InvalidRequest) as refused:
            measured(criterion(kind), value, "values.c")
        assert (refused.value.param or "").startswith("values.c")


class TestAssistantMessage:
    def test_is_kept_as_it_came(self) -> None:
        message = {"role": "assistant", "content": None, "tool_calls": [CALL], "x": 1}
        assert assistant_message(message, "correction") == message
        parts = {"content": [{"type": "text", "text": "a", "y": 2}]}
        assert assistant_message(parts, "correction") == {"role": "assistant"} | parts
        assert assistant_message({"refusal": "No."}, "correction") == {"role": "assistant", "refusal": "No."}

    @pytest.mark.parametrize(
        "message",
        [
            {},
            {"content": " "},
            {"content": []},
            {"content": 4},
            {"role": "user", "content": "x"},
            {"tool_calls": []},
            {"tool_calls": [{"id": "x"}]},
            {"tool_calls": [CALL | {"function": {"name": "f", "arguments": {}}}]},
            ["x"],
        ],
    )
    def test_one_that_says_nothing_or_is_none_is_refused(self, message: Any) -> None:
        with pytest.raises(InvalidRequest, match="correction"):
            assistant_message(message, "correction")
