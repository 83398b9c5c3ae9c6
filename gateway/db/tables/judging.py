"""Judges, their immutable versions, what they still have to judge, and how far they can be trusted."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.base import Base


class JudgeRow(Base):
    """A named judge of a project: a set of rules, or a model with instructions."""

    __tablename__ = "judges"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str]
    kind: Mapped[str]
    """rule or llm."""
    version: Mapped[int]
    """Number of the version in force."""
    watch: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    """Which traffic it judges (gateway/judging/watching.py: Watched); None: only what it is asked to."""
    watched_until: Mapped[str | None]
    """Id of the last exchange that was looked at for sampling."""
    min_kappa: Mapped[float | None]
    """Agreement with people, at the lower end of its interval, that it needs before it may gate or build data unattended."""
    lagging_since: Mapped[datetime | None]
    """When its oldest task was found to wait for too long; None while none does."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    archived_at: Mapped[datetime | None]

    __table_args__ = (
        Index(
            "uq_judges_project_id_name", "project_id", "name", unique=True, postgresql_where=text("archived_at IS NULL")
        ),
    )


class JudgeVersionRow(Base):
    """What a judge did from one moment on; never changed."""

    __tablename__ = "judge_versions"

    id: Mapped[str] = mapped_column(primary_key=True)
    judge_id: Mapped[str] = mapped_column(ForeignKey("judges.id"))
    number: Mapped[int]
    criterion_id: Mapped[str] = mapped_column(ForeignKey("criteria.id"))
    spec: Mapped[dict[str, Any]]
    """Prompt, model, parameters, rules (gateway/protocol/judges.py)."""
    spec_sha256: Mapped[str]
    created_at: Mapped[datetime]
    created_by: Mapped[str]

    __table_args__ = (UniqueConstraint("judge_id", "number"),)


class JudgingTaskRow(Base):
    """One answer (or two) that a judge has to judge. It ends in a judgment, ok or error, or it makes the lag grow."""

    __tablename__ = "judging_tasks"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str]
    judge_version_id: Mapped[str] = mapped_column(ForeignKey("judge_versions.id"))
    exchange_id: Mapped[str]
    choice_index: Mapped[int] = mapped_column(default=0, server_default="0")
    """Of a reply with several; tasks of the others are made when the first one is begun (gateway/judging/work.py)."""
    other_exchange_id: Mapped[str | None]
    attempt: Mapped[int] = mapped_column(default=0, server_default="0")
    """Of repeats that were asked for."""
    sampling: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    created_at: Mapped[datetime]
    due_at: Mapped[datetime]
    """Not tried before."""
    tries: Mapped[int] = mapped_column(default=0, server_default="0")
    leased_until: Mapped[datetime | None]
    lease_holder: Mapped[str | None]
    done_at: Mapped[datetime | None]

    __table_args__ = (
        Index(
            "uq_judging_tasks_work",
            "judge_version_id",
            "exchange_id",
            text("coalesce(other_exchange_id, '')"),
            "choice_index",
            "attempt",
            unique=True,
        ),
        Index("ix_judging_tasks_due", "project_id", "due_at", postgresql_where=text("done_at IS NULL")),
        Index("ix_judging_tasks_done_at", "done_at", postgresql_where=text("done_at IS NOT NULL")),
    )


class CalibrationRow(Base):
    """A judge's version held against people's judgments of the same answers."""

    __tablename__ = "calibrations"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str]
    judge_version_id: Mapped[str] = mapped_column(ForeignKey("judge_versions.id"))
    criterion_id: Mapped[str] = mapped_column(ForeignKey("criteria.id"))
    """Whose human judgments it was held against."""
    created_at: Mapped[datetime]
    n: Mapped[int]
    kappa: Mapped[float | None]
    """None where it is not defined; `report` says why."""
    kappa_low: Mapped[float | None]
    kappa_high: Mapped[float | None]
    sensitivity: Mapped[float | None]
    specificity: Mapped[float | None]
    report: Mapped[dict[str, Any]]
    """Confusion, biases, corrected rates (gateway/protocol/judges.py)."""

    __table_args__ = (Index("ix_calibrations_judge_version_id_created_at", "judge_version_id", "created_at"),)


class WorkingKeyRow(Base):
    """A project's own key for what Tuneway asks models for on its behalf, so that budgets and limits can bind it."""

    __tablename__ = "working_keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    purpose: Mapped[str]
    """judge or eval; also `purpose` of the exchanges that it makes."""
    api_key_id: Mapped[str] = mapped_column(ForeignKey("api_keys.id"))
    secret: Mapped[bytes]
    """Sealed (gateway/kit/sealing.py)."""
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]

    __table_args__ = (
        Index(
            "uq_working_keys_project_id_purpose",
            "project_id",
            "purpose",
            unique=True,
            postgresql_where=text("deleted_at IS NULL"),
        ),
    )
