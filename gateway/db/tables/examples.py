"""Training examples that people manage by hand."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.base import Base


class TrainingExampleRow(Base):
    __tablename__ = "training_examples"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    created_by: Mapped[str]
    kind: Mapped[str]
    """sft or preference: the line's format."""
    line: Mapped[dict[str, Any]]
    """As a line of OpenAI's training files."""
    sha256: Mapped[str]
    """Of the line in canonical JSON."""
    tags: Mapped[list[str]]
    source: Mapped[str]
    """manual, upload, exchange or edit."""
    exchange_id: Mapped[str | None]
    file_id: Mapped[str | None]
    status: Mapped[str]
    """draft, validated or rejected."""
    score: Mapped[float | None]
    """0 to 1, by whoever validated it."""
    note: Mapped[str]
    validated_by: Mapped[str | None]
    validated_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]

    __table_args__ = (
        Index(
            "uq_training_examples_project_id_sha256",
            "project_id",
            "sha256",
            unique=True,
            postgresql_where=text("deleted_at IS NULL"),
        ),
        Index("ix_training_examples_project_id_created_at_id", "project_id", "created_at", "id"),
        Index("ix_training_examples_exchange_id", "exchange_id", postgresql_where=text("exchange_id IS NOT NULL")),
    )
