"""Budgets, what is spent of them, and what is leased to whom (docs/decisions/0012-leases-in-postgresql.md)."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.base import Base


class BudgetRow(Base):
    __tablename__ = "budgets"

    id: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]
    name: Mapped[str | None]
    scope: Mapped[str]
    """organization, project or api_key."""
    project_id: Mapped[str | None] = mapped_column(ForeignKey("projects.id"))
    """Set for the scopes project and api_key."""
    api_key_id: Mapped[str | None] = mapped_column(ForeignKey("api_keys.id"))
    """Set for the scope api_key."""
    period: Mapped[str]
    """total (from `created_at` on), day, week (from Monday) or month; UTC."""
    limit_nano: Mapped[int]
    hard: Mapped[bool]
    """False: it only tells of its thresholds and refuses nothing."""
    thresholds: Mapped[list[int]] = mapped_column(JSONB)
    """Percents of the limit, rising; reaching one is told once in each window."""
    source: Mapped[str]
    """budgets, spend_limit or spend_alert: the API that made it and changes it."""
    notification: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    """A spend alert's: OpenAI's notification_channel."""
    deleted_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint(
            "scope = 'organization' AND project_id IS NULL AND api_key_id IS NULL"
            " OR scope = 'project' AND project_id IS NOT NULL AND api_key_id IS NULL"
            " OR scope = 'api_key' AND project_id IS NOT NULL AND api_key_id IS NOT NULL",
            name="scope",
        ),
        Index("ix_budgets_created_at_id", "created_at", "id"),
    )


class BudgetWindowRow(Base):
    """One period of one budget, made when it is first needed. Its lock orders leases and charges."""

    __tablename__ = "budget_windows"

    budget_id: Mapped[str] = mapped_column(ForeignKey("budgets.id"), primary_key=True)
    starts_at: Mapped[datetime] = mapped_column(primary_key=True)
    ends_at: Mapped[datetime | None]
    """Exclusive; None for a total."""
    spent_nano: Mapped[int]
    """The ledger's sum in this window; every posting to the ledger adds to it in its own transaction."""
    wanted_at: Mapped[datetime | None]
    """When somebody last found too little left while others held leases: they give back what they do not use."""


class BudgetLeaseRow(Base):
    """What one holder may spend of one window, spent money included: holders never have more than the limit together.

    A holder counts with the larger of both sums: one that was never granted anything (the budget is younger than the
    call, an upstream sent more than was asked for) has still spent it.
    """

    __tablename__ = "budget_leases"

    budget_id: Mapped[str] = mapped_column(ForeignKey("budgets.id"), primary_key=True)
    starts_at: Mapped[datetime] = mapped_column(primary_key=True)
    holder: Mapped[str] = mapped_column(primary_key=True)
    """As in the ledger; empty: those that are gone, and what was spent before the window was made."""
    granted_nano: Mapped[int]
    spent_nano: Mapped[int]

    __table_args__ = (Index("ix_budget_leases_holder", "holder"),)


class BudgetHolderRow(Base):
    """A gateway process that has leased of budgets. It is gone from here once everything that it spent is in the ledger."""

    __tablename__ = "budget_holders"

    id: Mapped[str] = mapped_column(primary_key=True)
    """The holder of its leases."""
    host: Mapped[str]
    """The name of its machine; empty where it did not say."""
    created_at: Mapped[datetime]
    since: Mapped[datetime]
    """From when on it has said again and again that it runs."""
    seen_at: Mapped[datetime]
    """When it last did."""


class BudgetEventRow(Base):
    """A threshold was reached."""

    __tablename__ = "budget_events"

    id: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]
    budget_id: Mapped[str] = mapped_column(ForeignKey("budgets.id"))
    starts_at: Mapped[datetime]
    threshold: Mapped[int]
    """Percent."""
    limit_nano: Mapped[int]
    """At that time: a raised limit can be reached again."""
    spent_nano: Mapped[int]
    announced_at: Mapped[datetime | None]
    """When it was handed to the webhooks."""

    __table_args__ = (
        UniqueConstraint("budget_id", "starts_at", "threshold", "limit_nano"),
        Index("ix_budget_events_created_at_id", "created_at", "id"),
        Index("ix_budget_events_unannounced", "created_at", postgresql_where=text("announced_at IS NULL")),
    )
