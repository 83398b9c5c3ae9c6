"""OpenAI's evals: what is tested, each run of it, and what came out for each item."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.base import Base


class EvalRow(Base):
    __tablename__ = "evals"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str]
    data_source_config: Mapped[dict[str, Any]]
    testing_criteria: Mapped[list[Any]]
    """OpenAI's graders, each with an id."""
    metrics: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    """Extension: what is measured beside the criteria (gateway/protocol/evals.py, Metrics)."""
    request_metadata: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]

    __table_args__ = (
        Index("ix_evals_project_id_created_at_id", "project_id", "created_at", "id"),
        Index("ix_evals_project_id_updated_at_id", "project_id", "updated_at", "id"),
    )


class EvalRunRow(Base):
    __tablename__ = "eval_runs"

    id: Mapped[str] = mapped_column(primary_key=True)
    eval_id: Mapped[str] = mapped_column(ForeignKey("evals.id"))
    project_id: Mapped[str]
    api_key_id: Mapped[str]
    name: Mapped[str]
    model: Mapped[str | None]
    """None where the samples came with the data."""
    data_source: Mapped[dict[str, Any]]
    repeats: Mapped[int] = mapped_column(default=1, server_default="1")
    """Extension: how often each item is answered."""
    request_metadata: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    status: Mapped[str]
    """queued, in_progress, completed, canceled or failed (OpenAI's spelling)."""
    total: Mapped[int | None]
    """Items times repeats, once the source was read."""
    result: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    """Counts, usage by model, results by criterion and metrics with their intervals, of a run that ended."""
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]
    leased_until: Mapped[datetime | None]
    lease_holder: Mapped[str | None]
    announced_at: Mapped[datetime | None]
    """When its end was handed to the webhooks."""

    __table_args__ = (
        Index("ix_eval_runs_eval_id_created_at_id", "eval_id", "created_at", "id"),
        Index(
            "ix_eval_runs_unannounced",
            "finished_at",
            postgresql_where=text("finished_at IS NOT NULL AND announced_at IS NULL"),
        ),
        Index("ix_eval_runs_unfinished", "created_at", postgresql_where=text("status IN ('queued', 'in_progress')")),
    )


class EvalComparisonRow(Base):
    """Two completed runs, compared. Neither can change any more, so it is computed once."""

    __tablename__ = "eval_comparisons"

    run_id: Mapped[str] = mapped_column(ForeignKey("eval_runs.id"), primary_key=True)
    base_run_id: Mapped[str] = mapped_column(ForeignKey("eval_runs.id"), primary_key=True, index=True)
    method: Mapped[int]
    """Which statistics (gateway/evals/comparisons.py)."""
    comparison: Mapped[dict[str, Any]]
    """As the API shows it."""
    flips: Mapped[list[Any]]
    """All: [number of the item, the base's, got worse]."""
    elsewhere: Mapped[list[Any]]
    """[number of the item, the base's or null], of those that the base has at another place or not at all."""
    created_at: Mapped[datetime]


class EvalOutputItemRow(Base):
    __tablename__ = "eval_output_items"

    id: Mapped[str] = mapped_column(primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("eval_runs.id"))
    number: Mapped[int]
    """The item's place in the source, from 0: OpenAI's datasource_item_id."""
    repeat: Mapped[int] = mapped_column(default=0, server_default="0")
    item: Mapped[dict[str, Any]]
    cluster: Mapped[str]
    """Items of one conversation or one case count as one in intervals; the item's own place where nothing says more."""
    status: Mapped[str]
    """queued, pass, fail or error."""
    sample: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    results: Mapped[list[Any] | None] = mapped_column(JSONB(none_as_null=True))
    metrics: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    """Numbers of this item by metric (judges/metrics/)."""
    exchange_id: Mapped[str | None]
    """Of the call that made the sample."""
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        UniqueConstraint("run_id", "number", "repeat"),
        Index("ix_eval_output_items_run_id_status", "run_id", "status"),
    )
