"""Judgments: what people, rules and models said of answers, and the criteria that they judged by."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.base import Base


class CriterionRow(Base):
    """One version of what is judged; never changed. Judgments by one version are never pooled with those by another
    (criteria drift, arXiv 2404.12272)."""

    __tablename__ = "criteria"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    created_at: Mapped[datetime]
    created_by: Mapped[str]
    """The api key or person; empty for one that came with Tuneway."""
    name: Mapped[str]
    """The same in all versions: `thumbs`, `helpful`, ..."""
    version: Mapped[int]
    kind: Mapped[str]
    """boolean, numeric, categorical, pairwise, edit or text."""
    description: Mapped[str]
    """What a person or a model is told to judge by."""
    lowest: Mapped[float | None]
    """Of a numeric one: the raw value that is score 0 (or 1, where less is better)."""
    highest: Mapped[float | None]
    labels: Mapped[list[str] | None] = mapped_column(JSONB(none_as_null=True))
    """Of a categorical one, best first."""
    passing_labels: Mapped[list[str] | None] = mapped_column(JSONB(none_as_null=True))
    pass_score: Mapped[float | None]
    """Of a numeric one: the normalised score from which an answer passes."""
    direction: Mapped[str]
    """max (more is better) or min."""
    level: Mapped[str]
    """exchange or conversation."""
    archived_at: Mapped[datetime | None]

    __table_args__ = (UniqueConstraint("project_id", "name", "version"),)


class JudgmentRow(Base):
    """One verdict by one judge on one answer, or on two. Append-only: nothing of a verdict is changed; `superseded_at` is
    set once, when another row takes its place or it is retracted.

    No foreign keys to exchanges, which have none themselves: feedback may be there before the log is drained.
    """

    __tablename__ = "judgments"

    id: Mapped[str] = mapped_column(primary_key=True)
    """`judgment_` + 32 hex digits that sort by time."""
    project_id: Mapped[str]
    created_at: Mapped[datetime]
    exchange_id: Mapped[str]
    """What was judged; in a comparison, answer A."""
    choice_index: Mapped[int] = mapped_column(default=0, server_default="0")
    other_exchange_id: Mapped[str | None]
    """Answer B of a comparison."""
    other_choice_index: Mapped[int | None]
    eval_run_id: Mapped[str | None]
    """Made inside a run of an eval."""
    output_item_id: Mapped[str | None]
    source: Mapped[str]
    """human, rule, llm or external."""
    judge_version_id: Mapped[str | None] = mapped_column(ForeignKey("judge_versions.id"))
    """None for people, external systems and graders of evals, whose criterion is a version of its own."""
    annotator_id: Mapped[str | None]
    """Whose word it is: a user's id, or the api key that brought it."""
    end_user: Mapped[str | None]
    """Keyed hash of the product's user who gave it."""
    identifier: Mapped[str] = mapped_column(default="", server_default="")
    """Chosen by the client: the same verdict sent twice is one. In a run of an eval, its output item."""
    attempt: Mapped[int] = mapped_column(default=0, server_default="0")
    """Of repeats of one judge on one answer."""
    criterion_id: Mapped[str] = mapped_column(ForeignKey("criteria.id"))
    kind: Mapped[str]
    """The criterion's."""
    score: Mapped[float | None]
    """0 to 1, more is better; None when nothing was measured. Never NaN."""
    raw_value: Mapped[Any | None] = mapped_column(JSONB(none_as_null=True))
    """As it was given: 4 of 5, "toxic", true."""
    label: Mapped[str | None]
    passed: Mapped[bool | None]
    preference: Mapped[str | None]
    """a, b, tie or both_bad; a is `exchange_id`, in whatever order they were shown."""
    preference_strength: Mapped[int | None]
    """1 to 3."""
    edited_message: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    """The whole assistant message as it should have been, tool calls included; not a difference."""
    rationale: Mapped[str | None]
    tags: Mapped[list[str]] = mapped_column(default=list, server_default="[]")
    """Of failures: "hallucination", "too long", ..."""
    status: Mapped[str]
    """ok, error, abstained or retracted. Errors are left out of means and counted beside them."""
    error_code: Mapped[str | None]
    """parse, refusal, timeout, rate_limit, schema, upstream, position_inconsistent, injection_suspected or not_logged;
    of a grader of an eval, what the item's `errors` say."""
    order_shown: Mapped[str | None]
    """ab or ba: which of the two a judge of a comparison saw first."""
    pair_group_id: Mapped[str | None]
    """Shared by both orders of one comparison and the row that reconciles them."""
    derived_from: Mapped[list[str] | None] = mapped_column(JSONB(none_as_null=True))
    """Judgments that this one was made of: both orders of a comparison, the members of a panel."""
    supersedes_id: Mapped[str | None]
    superseded_at: Mapped[datetime | None]
    confidence: Mapped[float | None]
    latency_ms: Mapped[float | None]
    cost_nano: Mapped[int | None]
    judge_exchange_id: Mapped[str | None]
    """The judge's own call, in the exchange log."""
    blind: Mapped[bool] = mapped_column(default=False, server_default="false")
    """A person who saw neither the models' names nor other verdicts."""
    sampling: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    """{"probability", "policy"}: how the answer came to be judged, for estimates without bias."""
    judgment_metadata: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))

    __table_args__ = (
        CheckConstraint("score IS NULL OR (score >= 0 AND score <= 1)", name="score_is_normalised"),
        CheckConstraint("kind = 'pairwise' OR other_exchange_id IS NULL", name="two_answers_in_comparisons"),
        Index(
            "uq_judgments_verdict",
            "project_id",
            "criterion_id",
            "exchange_id",
            "choice_index",
            text("coalesce(other_exchange_id, '')"),
            text("coalesce(other_choice_index, -1)"),
            "source",
            text("coalesce(judge_version_id, '')"),
            text("coalesce(annotator_id, '')"),
            text("coalesce(end_user, '')"),
            "identifier",
            "attempt",
            text("coalesce(order_shown, '')"),
            unique=True,
            postgresql_where=text("superseded_at IS NULL"),
        ),
        Index("ix_judgments_project_id_id", "project_id", "id"),
        Index("ix_judgments_project_id_exchange_id", "project_id", "exchange_id"),
        Index(
            "ix_judgments_other_exchange_id",
            "other_exchange_id",
            postgresql_where=text("other_exchange_id IS NOT NULL"),
        ),
        Index("ix_judgments_project_id_criterion_id_created_at", "project_id", "criterion_id", "created_at"),
        Index(
            "ix_judgments_judge_version_id_created_at",
            "judge_version_id",
            "created_at",
            postgresql_where=text("judge_version_id IS NOT NULL"),
        ),
        Index("ix_judgments_eval_run_id", "eval_run_id", postgresql_where=text("eval_run_id IS NOT NULL")),
    )
