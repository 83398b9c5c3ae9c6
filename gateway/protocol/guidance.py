"""/v1/guidance (an extension): what fails, how often, where, since when, and what to do about it."""

from typing import Any, Literal

import msgspec

ClusterKind = Literal["judgment", "tag", "call", "fallback", "cut_off", "eval", "flip"]
SuggestionKind = Literal[
    "more_data",
    "few_shot",
    "instructions",
    "output_rule",
    "training_settings",
    "roll_back",
    "distrust_judge",
    "token_limit",
    "provider",
    "budget",
]


class GuidanceFilters(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """What to look at; null is all."""

    model: str | None = None
    """As requested or as served."""
    route: str | None = None
    """Its name, of any revision."""
    created_after: int | None = None
    """Inclusive, Unix seconds."""
    created_before: int | None = None
    """Exclusive."""


class Proportion(msgspec.Struct, kw_only=True, frozen=True):
    """`n` of `of`, with its 95% interval (Wilson)."""

    n: int
    of: int
    value: float
    low: float
    high: float


class Part(msgspec.Struct, kw_only=True, frozen=True):
    """What fails of one model's or one route's answers."""

    value: str | None
    """Its name; null: nobody was asked, or the call is not in the log."""
    failing: Proportion


class Concentration(msgspec.Struct, kw_only=True, frozen=True):
    """Calls with this in their metadata fail more often than the others."""

    key: str
    value: str
    failing: Proportion
    """Of the answers to calls that carry it."""
    elsewhere: Proportion
    """Of all other answers."""
    share_of_failures: Proportion
    """How many of the failures carry it."""


class Example(msgspec.Struct, kw_only=True):
    """One failure. Texts are read when they are asked for, and are null once the exchange was erased."""

    created_at: int
    model: str | None
    exchange_id: str | None = None
    eval_id: str | None = None
    run_id: str | None = None
    output_item_id: str | None = None
    question: str | None = None
    """Its first words."""
    answer: str | None = None


class Topic(msgspec.Struct, kw_only=True):
    """Questions that are nearly the same."""

    n: int
    of: int
    """Failures whose question was compared."""
    example: Example


class Change(msgspec.Struct, kw_only=True, frozen=True):
    """A share before and after a moment."""

    at: int
    before: Proportion
    after: Proportion
    difference: float
    low: float
    """Of the difference, after minus before (Newcombe)."""
    high: float


class Trend(msgspec.Struct, kw_only=True, frozen=True):
    """The newer half of what was looked at against the older half."""

    direction: Literal["rose", "fell", "unsure"]
    change: Change


class Since(msgspec.Struct, kw_only=True, frozen=True):
    """What began right before more failed."""

    kind: Literal["model", "route_revision"]
    name: str
    """Of the model, or `route@revision`."""
    change: Change
    training_job_id: str | None = None
    """The training that made the model."""


class Subject(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What failed, by the names that the rest of the API knows."""

    source: str | None = None
    """human, rule, llm or external."""
    criterion: str | None = None
    criterion_id: str | None = None
    judge_id: str | None = None
    judge: str | None = None
    tag: str | None = None
    """Also the name of a rule."""
    code: str | None = None
    """Of an error."""
    outcome: str | None = None
    """Of calls: failed (a provider) or refused (by this gateway)."""
    model: str | None = None
    """That others answered for."""
    eval_id: str | None = None
    eval_name: str | None = None
    run_id: str | None = None


class Suggestion(msgspec.Struct, kw_only=True):
    """Something concrete to change."""

    kind: SuggestionKind
    title: str
    why: str
    """The figures behind it."""
    do: str
    """How."""
    parameters: dict[str, str] = {}
    """What a form is filled in with: model, route, route_id, metadata (key=value), criterion, job_id, judge_id,
    rule (its type), rules_json (all of it, in a list)."""
    snippet: str | None = None
    """Text to paste: the rules of a check as JSON, words for a system prompt."""


class Cluster(msgspec.Struct, kw_only=True):
    """Failures of one kind."""

    id: str
    """The same as long as it is the same kind of failure."""
    object: str = "guidance.cluster"
    kind: ClusterKind
    title: str
    subject: Subject
    trusted: bool | None = None
    """Of an LLM judge: whether its agreement with people was shown; null for everything else."""
    failing: Proportion
    """Of the answers (or calls, or items) that could have failed so."""
    end_users: int
    """Different ones among the failures, where calls name theirs."""
    models: list[Part]
    routes: list[Part]
    topics: list[Topic]
    concentrations: list[Concentration]
    examples: list[Example]
    first_seen: int
    last_seen: int
    trend: Trend | None
    """null where time says nothing (evals), or there is too little."""
    since: Since | None
    suggestions: list[Suggestion] = []


class LookedAt(msgspec.Struct, kw_only=True):
    """The newest of each, bounded."""

    judgments: int
    calls: int
    replies: int
    """Whose reason to end was read."""
    eval_items: int
    since: int | None
    """The oldest of them; null: there was nothing."""
    complete: bool
    """There was no more in the time that was asked for."""


class Report(msgspec.Struct, kw_only=True):
    """As it is stored: no texts in the examples."""

    looked_at: LookedAt
    clusters: list[Cluster]
    missing: list[str]
    """What there is none of, and guidance could be had from: calls, judgments, people, rules, judges, evals."""


class Guidance(msgspec.Struct, kw_only=True):
    object: str = "guidance"
    status: Literal["ready", "computing"]
    """computing: there is no report yet; ask again in a second."""
    as_of: int | None
    """When the report was made."""
    refreshing: bool
    """It is older than it should be, and a newer one is on its way."""
    filters: GuidanceFilters
    looked_at: LookedAt | None
    data: list[Cluster]
    missing: list[str]


class SummaryCreate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A model is asked for its opinion on the clusters."""

    model: str
    """Or a route; called, logged (without texts), limited and charged as the caller's own call."""
    filters: GuidanceFilters = GuidanceFilters()


class Cause(msgspec.Struct, kw_only=True, frozen=True):
    """What a model thinks is behind a cluster."""

    cluster_id: str
    cause: str
    suggestion: str
    confidence: Literal["low", "medium", "high"]


class GuidanceSummary(msgspec.Struct, kw_only=True):
    """A model's opinion, beside the rules' facts."""

    object: str = "guidance.summary"
    created_at: int
    as_of: int
    """Of the clusters that it was shown."""
    model: str
    exchange_id: str
    summary: str
    causes: list[Cause]


Stored = dict[str, Any]
"""A Report as JSON."""
