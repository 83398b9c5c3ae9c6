"""Chat completions that their callers asked to be stored (`store: true`), and exchanges that were deleted."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.base import Base


class StoredCompletionRow(Base):
    """Written with the exchange. Only this row's metadata can be changed: the log stays as it was."""

    __tablename__ = "stored_completions"

    exchange_id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str]
    completion_id: Mapped[str]
    """`chatcmpl-...`, by which OpenAI's API names it; the exchange's id where an upstream used it before."""
    model: Mapped[str]
    created_at: Mapped[datetime]
    completion_metadata: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    deleted_at: Mapped[datetime | None]

    __table_args__ = (
        Index("uq_stored_completions_project_id_completion_id", "project_id", "completion_id", unique=True),
        Index("ix_stored_completions_project_id_created_at", "project_id", "created_at", "exchange_id"),
    )


class ExchangeDeletionRow(Base):
    """That an exchange was erased: its bodies are gone from the log, and nobody builds data of it any more."""

    __tablename__ = "exchange_deletions"

    exchange_id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str]
    deleted_at: Mapped[datetime]
    deleted_by: Mapped[str]
