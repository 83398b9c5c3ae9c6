"""What people in a browser need beside what programs need."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.base import Base


class ConsoleKeyRow(Base):
    """The key that a person's calls in a project count as when a session makes them (gateway/routes/acting.py): budgets, limits,
    the log and bills know keys alone. Nobody has its secret."""

    __tablename__ = "console_keys"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), primary_key=True)
    api_key_id: Mapped[str] = mapped_column(ForeignKey("api_keys.id"))


class SavedViewRow(Base):
    """Filters of a page under a name."""

    __tablename__ = "saved_views"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    created_at: Mapped[datetime]
    created_by: Mapped[str]
    page: Mapped[str]
    """exchanges, judgments, ..."""
    name: Mapped[str]
    query: Mapped[dict[str, Any]]
    """Parameters of the page's URL, each a text or a list of texts."""

    __table_args__ = (UniqueConstraint("project_id", "page", "name"),)


class ReviewQueueRow(Base):
    """Answers that people are to judge, one after the other."""

    __tablename__ = "review_queues"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    created_at: Mapped[datetime]
    created_by: Mapped[str]
    name: Mapped[str]
    kind: Mapped[str]
    """single (one answer) or pairwise (two answers to one question)."""
    criteria: Mapped[list[str]]
    """Names of what each answer is judged by, in their order."""
    blind: Mapped[bool]
    """Reviewers see neither models' names nor what judges said before they have said it themselves."""
    overlap: Mapped[int]
    """How many people judge each item."""
    source: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    """How it was filled, to be shown."""
    total: Mapped[int] = mapped_column(default=0, server_default="0")
    """Items that can be judged: those that are gone are not counted."""
    finished: Mapped[int] = mapped_column(default=0, server_default="0")
    """Of these, judged by as many people as `overlap` says. Counted with each decision: a list of queues reads no items."""
    archived_at: Mapped[datetime | None]

    __table_args__ = (Index("ix_review_queues_project_id_id", "project_id", "id"),)


class ReviewItemRow(Base):
    """One answer, or a pair, in a queue."""

    __tablename__ = "review_items"

    id: Mapped[str] = mapped_column(primary_key=True)
    queue_id: Mapped[str] = mapped_column(ForeignKey("review_queues.id", ondelete="CASCADE"))
    position: Mapped[int]
    """In the queue, from 0."""
    exchange_id: Mapped[str]
    choice_index: Mapped[int] = mapped_column(default=0, server_default="0")
    other_exchange_id: Mapped[str | None]
    other_choice_index: Mapped[int | None]
    locked_by: Mapped[str | None]
    """Who looks at it now; nobody else is given it until the lock ends."""
    locked_until: Mapped[datetime | None]
    done: Mapped[int] = mapped_column(default=0, server_default="0")
    """How many people have judged it."""
    gone_at: Mapped[datetime | None]
    """When its answer was found to be erased: nobody can judge it any more."""

    __table_args__ = (
        UniqueConstraint("queue_id", "position"),
        Index(
            "uq_review_items_answer",
            "queue_id",
            "exchange_id",
            "choice_index",
            text("coalesce(other_exchange_id, '')"),
            text("coalesce(other_choice_index, -1)"),
            unique=True,
        ),
        Index("ix_review_items_exchange_id", "exchange_id"),
        Index("ix_review_items_lock", "queue_id", "locked_by", postgresql_where=text("locked_by IS NOT NULL")),
    )


class ReviewDecisionRow(Base):
    """What one person did with an item."""

    __tablename__ = "review_decisions"

    item_id: Mapped[str] = mapped_column(ForeignKey("review_items.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[str] = mapped_column(primary_key=True)
    """A user, or an api key."""
    queue_id: Mapped[str]
    """The item's."""
    decided_at: Mapped[datetime]
    decision: Mapped[str]
    """done or skipped."""
    judgment_ids: Mapped[list[str]] = mapped_column(default=list, server_default="[]")
    """What undoing takes back."""

    __table_args__ = (
        Index("ix_review_decisions_queue_id_user_id_decided_at", "queue_id", "user_id", "decided_at"),
        Index("ix_review_decisions_queue_id_decided_at", "queue_id", "decided_at"),
    )
