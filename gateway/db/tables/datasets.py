"""Datasets: recipes, the versions that were built by them, and where each row of a version comes from."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.base import Base


class DatasetRow(Base):
    __tablename__ = "datasets"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str]
    description: Mapped[str]
    request_metadata: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]

    __table_args__ = (Index("ix_datasets_project_id_created_at_id", "project_id", "created_at", "id"),)


class DatasetVersionRow(Base):
    """One recipe over the data of one moment. Same data, same recipe, same bytes."""

    __tablename__ = "dataset_versions"

    id: Mapped[str] = mapped_column(primary_key=True)
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"))
    project_id: Mapped[str]
    number: Mapped[int]
    recipe: Mapped[dict[str, Any]]
    """gateway/protocol/recipes.py, every default filled in."""
    snapshot_at: Mapped[datetime]
    """Exchanges and judgments made later do not count."""
    status: Mapped[str]
    """queued, building, completed, failed or cancelled."""
    progress: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    """{"stage", "done", "total"}."""
    report: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    """What was taken, what was dropped and why, with token counts and examples."""
    content_sha256: Mapped[str | None]
    """Of the training file's bytes, then the validation file's."""
    training_file_id: Mapped[str | None]
    validation_file_id: Mapped[str | None]
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    created_at: Mapped[datetime]
    created_by: Mapped[str]
    finished_at: Mapped[datetime | None]
    leased_until: Mapped[datetime | None]
    lease_holder: Mapped[str | None]

    __table_args__ = (
        UniqueConstraint("dataset_id", "number"),
        Index(
            "ix_dataset_versions_unfinished",
            "created_at",
            postgresql_where=text("status IN ('queued', 'building')"),
        ),
        Index("ix_dataset_versions_training_file_id", "training_file_id"),
        Index("ix_dataset_versions_validation_file_id", "validation_file_id"),
    )


class DatasetItemRow(Base):
    """One line of a version, and what it was made of."""

    __tablename__ = "dataset_items"

    version_id: Mapped[str] = mapped_column(ForeignKey("dataset_versions.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    """Line of its file, from 1."""
    split: Mapped[str] = mapped_column(primary_key=True)
    """training or validation."""
    kind: Mapped[str]
    """sft or preference."""
    sha256: Mapped[str]
    """Of the line."""
    cluster: Mapped[str]
    """What the split kept together: near-duplicates, conversations and, where asked for, users."""
    exchange_id: Mapped[str | None]
    """Of the answer that is learnt: in a pair, of the chosen one."""
    other_exchange_id: Mapped[str | None]
    """Of a pair's rejected answer, where that is another exchange."""
    example_id: Mapped[str | None]
    """Of an example that was managed by hand."""
    judgment_ids: Mapped[list[str]]
    origin_model: Mapped[str | None]
    """Whose answer is learnt: None for one that a person wrote."""
    end_user: Mapped[str | None]
    erased_at: Mapped[datetime | None]
    """Its exchange was deleted since: a worker blanks the line in its file, and then `sha256` is empty."""

    __table_args__ = (
        Index("ix_dataset_items_exchange_id", "exchange_id"),
        Index(
            "ix_dataset_items_to_blank",
            "version_id",
            postgresql_where=text("erased_at IS NOT NULL AND sha256 <> ''"),
        ),
        Index(
            "ix_dataset_items_other_exchange_id",
            "other_exchange_id",
            postgresql_where=text("other_exchange_id IS NOT NULL"),
        ),
        Index("ix_dataset_items_example_id", "example_id", postgresql_where=text("example_id IS NOT NULL")),
        Index("ix_dataset_items_end_user", "end_user", postgresql_where=text("end_user IS NOT NULL")),
    )
