"""A value by a criterion, as columns of a judgment: the score from 0 to 1, the label, and whether the answer passes."""

from collections.abc import Callable
from math import isfinite
from typing import Any, cast, get_args

import msgspec

from gateway.db.tables import CriterionRow
from gateway.errors import InvalidRequest
from gateway.judgments.verdict import Preference

PREFERENCES: tuple[str, ...] = get_args(Preference)
PREFERENCE_SCORES = {"a": 1.0, "b": 0.0, "tie": 0.5, "both_bad": 0.5}
"""Of answer A: a win rate counts half of the ties."""
TEXT_LENGTH = 100_000
"""Characters of a comment or a rationale."""

Columns = dict[str, Any]
"""Fields of a Verdict."""


def measured(criterion: CriterionRow, value: Any, param: str = "value") -> Columns:
    """What a value says by a criterion.

    Args:
        value: a boolean; a number on the criterion's scale; one of its labels; a, b, tie or both_bad; the edited answer, as
            text or as a whole assistant message; or a text. By the criterion's kind.
        param: the field of the request that it stood in.

    Raises InvalidRequest: the criterion takes no such value.
    """
    return _measures[criterion.kind](criterion, value, param)


def _boolean(criterion: CriterionRow, value: Any, param: str) -> Columns:
    if not isinstance(value, bool):
        raise _refused(criterion, param, "true or false")
    good = value is (criterion.direction == "max")
    return {"raw_value": value, "score": 1.0 if good else 0.0, "passed": good}


def _numeric(criterion: CriterionRow, value: Any, param: str) -> Columns:
    lowest, highest = criterion.lowest or 0.0, 1.0 if criterion.highest is None else criterion.highest
    if isinstance(value, bool) or not isinstance(value, int | float) or not lowest <= value <= highest:
        raise _refused(criterion, param, f"a number from {lowest:g} to {highest:g}")
    share = min(1.0, max(0.0, (value - lowest) / (highest - lowest)))
    score = share if criterion.direction == "max" else 1 - share
    passed = None if criterion.pass_score is None else score >= criterion.pass_score
    return {"raw_value": value, "score": score, "passed": passed}


def _categorical(criterion: CriterionRow, value: Any, param: str) -> Columns:
    labels = criterion.labels or []
    if value not in labels:
        raise _refused(criterion, param, f"one of {', '.join(labels)}")
    passing = criterion.passing_labels
    score = 1 - labels.index(value) / (len(labels) - 1)
    return {"raw_value": value, "label": value, "score": score, "passed": value in passing if passing else None}


def _pairwise(criterion: CriterionRow, value: Any, param: str) -> Columns:
    if value not in PREFERENCES:
        raise _refused(criterion, param, f"one of {', '.join(PREFERENCES)}")
    return {"preference": value, "score": PREFERENCE_SCORES[value]}


def _edit(criterion: CriterionRow, value: Any, param: str) -> Columns:
    return {"edited_message": assistant_message(value, param)}


def _text(criterion: CriterionRow, value: Any, param: str) -> Columns:
    if not isinstance(value, str) or not value.strip() or len(value) > TEXT_LENGTH:
        raise _refused(criterion, param, f"a text of 1 to {TEXT_LENGTH:,} characters")
    return {"rationale": value}


_measures: dict[str, Callable[[CriterionRow, Any, str], Columns]] = {
    "boolean": _boolean,
    "numeric": _numeric,
    "categorical": _categorical,
    "pairwise": _pairwise,
    "edit": _edit,
    "text": _text,
}


def _refused(criterion: CriterionRow, param: str, expected: str) -> InvalidRequest:
    return InvalidRequest(f"Invalid '{param}': '{criterion.name}' takes {expected}.", param=param)


class _Function(msgspec.Struct):
    name: str
    arguments: str


class _ToolCall(msgspec.Struct):
    id: str
    function: _Function


class _Part(msgspec.Struct):
    type: str
    text: str | None = None
    refusal: str | None = None


class _Message(msgspec.Struct):
    """What must be true of an edited answer; everything else in it is kept as it came."""

    role: str
    content: str | list[_Part] | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None


def assistant_message(value: Any, param: str) -> dict[str, Any]:
    """A whole assistant message (contract section 1), from one or from its text. Raises InvalidRequest."""
    message = {"role": "assistant", "content": value} if isinstance(value, str) else value
    if not isinstance(message, dict):
        raise InvalidRequest(f"Invalid '{param}': a text, or a whole assistant message, is expected.", param=param)
    message = {"role": "assistant"} | cast("dict[str, Any]", message)
    try:
        read = msgspec.convert(message, _Message)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"Invalid '{param}': {error}.", param=param) from None
    if read.role != "assistant":
        raise InvalidRequest(f"Invalid '{param}.role': the edited answer is the assistant's.", param=f"{param}.role")
    said = read.content if isinstance(read.content, str) else "".join(part.text or "" for part in read.content or ())
    if not (said.strip() or read.tool_calls or read.refusal):
        raise InvalidRequest(
            f"Invalid '{param}': an edited answer says something, or calls a tool.", param=f"{param}.content"
        )
    return message


def checked_number(value: float | None, param: str, *, lowest: float = 0, highest: float = 1) -> float | None:
    """Raises InvalidRequest."""
    if value is not None and not (isfinite(value) and lowest <= value <= highest):
        raise InvalidRequest(f"Invalid '{param}': a number from {lowest:g} to {highest:g}.", param=param)
    return value
