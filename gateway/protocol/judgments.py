"""/v1/judgments (an extension): what people, rules and models said of answers."""

from typing import Any, Literal

import msgspec


class Judgment(msgspec.Struct, kw_only=True):
    """One verdict by one judge on one answer, or on two (a comparison)."""

    id: str
    object: str = "judgment"
    created_at: int
    exchange_id: str
    """Of a comparison: answer A."""
    choice_index: int
    other_exchange_id: str | None
    """Answer B."""
    other_choice_index: int | None
    source: str
    """human, rule, llm or external."""
    judge_version_id: str | None
    annotator_id: str | None
    """Whose word it is: the api key that brought it."""
    end_user: str | None
    """Hash of the product's user who gave it."""
    identifier: str
    attempt: int
    criterion: str
    """Its name."""
    criterion_id: str
    """Its version."""
    kind: str
    score: float | None
    """0 to 1, more is better; null when nothing was measured."""
    value: Any
    """As it was given."""
    label: str | None
    passed: bool | None
    preference: str | None
    strength: int | None
    edited_message: dict[str, Any] | None
    rationale: str | None
    """Also the text of a comment."""
    tags: list[str]
    status: str
    """ok, error, abstained or retracted."""
    error_code: str | None
    order_shown: str | None
    pair_group_id: str | None
    derived_from: list[str] | None
    supersedes_id: str | None
    superseded_at: int | None
    """When a later word took its place; null: it is in force."""
    confidence: float | None
    latency_ms: float | None
    cost_nano: int | None
    judge_exchange_id: str | None
    blind: bool
    sampling: dict[str, Any] | None
    eval_run_id: str | None
    output_item_id: str | None
    metadata: dict[str, Any] | None


class JudgmentCreate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A score that another system or an annotation project brings."""

    exchange_id: str
    """`req_...`, or the completion's id."""
    choice_index: int = 0
    criterion: str
    """Its name."""
    value: Any = None
    """As its kind takes it: true, 4, a label, `a`, an edited answer, a text. Left out unless the status is ok."""
    other_id: str | None = None
    """Of a comparison: the other answer."""
    other_choice_index: int = 0
    strength: int | None = None
    status: Literal["ok", "error", "abstained"] = "ok"
    error_code: str | None = None
    rationale: str | None = None
    tags: list[str] | None = None
    confidence: float | None = None
    source: str = "external"
    """external or human; rule and llm are written by the judges of Tuneway alone."""
    identifier: str | None = None
    """Tells several judges behind one key apart, and makes a call that is sent again change nothing."""
    user: str | None = None
    metadata: dict[str, str] | None = None
    blind: bool = False


class JudgmentsCreate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    judgments: list[JudgmentCreate]
    """1 to 1,000; all are written, or none."""


class Written(msgspec.Struct, kw_only=True):
    object: str = "list"
    data: list[Judgment]


class Interval(msgspec.Struct, kw_only=True):
    """95%, Wilson's."""

    low: float
    high: float


class SummaryRow(msgspec.Struct, kw_only=True):
    """Judgments in force of one criterion version from one source, and of one value of each thing that was grouped by."""

    criterion: str
    criterion_id: str
    kind: str
    source: str
    group: dict[str, str | None]
    """What was grouped by -> its value; null: of no such thing, or the exchange is not in the log."""
    judgments: int
    """ok + errors + abstained: what the coverage is a share of."""
    ok: int
    errors: int
    abstained: int
    coverage: float
    """ok / judgments. A mean says nothing of what it does not cover."""
    scored: int
    """With a score."""
    mean_score: float | None
    mean_interval: Interval | None
    passed: int
    failed: int
    pass_rate: float | None
    """Of those that pass or fail."""
    pass_interval: Interval | None
    labels: dict[str, int]
    preferences: dict[str, int]
    tags: dict[str, int]
    """The most frequent ones."""


class Summary(msgspec.Struct, kw_only=True):
    object: str = "list"
    data: list[SummaryRow]
    truncated: bool = False
    """There were more groups than one answer takes: those with the most judgments are shown."""
