"""A judgment that is to be written."""

from typing import Any, Literal

import msgspec

Source = Literal["human", "rule", "llm", "external"]
Status = Literal["ok", "error", "abstained", "retracted"]
Preference = Literal["a", "b", "tie", "both_bad"]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What one judge says of one answer, or of two. Fields as in gateway/db/tables/judgments.py, where they are told of."""

    project_id: str
    exchange_id: str
    criterion_id: str
    kind: str
    """The criterion's."""
    source: Source
    status: Status = "ok"
    choice_index: int = 0
    other_exchange_id: str | None = None
    other_choice_index: int | None = None
    eval_run_id: str | None = None
    output_item_id: str | None = None
    judge_version_id: str | None = None
    annotator_id: str | None = None
    end_user: str | None = None
    identifier: str = ""
    attempt: int = 0
    score: float | None = None
    """0 to 1, more is better; gateway/judgments/values.py makes it of a value."""
    raw_value: Any = None
    label: str | None = None
    passed: bool | None = None
    preference: Preference | None = None
    preference_strength: int | None = None
    edited_message: dict[str, Any] | None = None
    rationale: str | None = None
    tags: list[str] = msgspec.field(default_factory=list[str])
    error_code: str | None = None
    order_shown: Literal["ab", "ba"] | None = None
    pair_group_id: str | None = None
    derived_from: list[str] | None = None
    confidence: float | None = None
    latency_ms: float | None = None
    cost_nano: int | None = None
    judge_exchange_id: str | None = None
    blind: bool = False
    sampling: dict[str, Any] | None = None
    judgment_metadata: dict[str, Any] | None = None


WHOSE = (
    "project_id", "criterion_id", "exchange_id", "choice_index", "other_exchange_id", "other_choice_index", "source",
    "judge_version_id", "annotator_id", "end_user", "identifier", "attempt", "order_shown",
)  # fmt: skip
"""Who speaks of what: the columns of the unique index of judgments in force."""
SAID = (
    "status", "score", "raw_value", "label", "passed", "preference", "preference_strength", "edited_message",
    "rationale", "tags", "error_code", "blind", "judgment_metadata",
)  # fmt: skip
"""What is said; the same said again changes nothing."""


def whose(each: Any) -> tuple[Any, ...]:
    """Of a verdict or of a row."""
    return tuple(getattr(each, name) for name in WHOSE)


def says_the_same(one: Any, other: Any) -> bool:
    """Verdicts or rows."""
    return all(getattr(one, name) == getattr(other, name) for name in SAID)
