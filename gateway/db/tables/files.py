"""Uploaded files; their contents are blobs (gateway/files/store.py)."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.base import Base


class FileRow(Base):
    __tablename__ = "files"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]
    filename: Mapped[str]
    purpose: Mapped[str]
    bytes: Mapped[int]
    sha256: Mapped[str]
    status: Mapped[str]
    """uploaded, processed or error (deprecated by OpenAI, still polled by its SDKs)."""
    status_details: Mapped[str | None]

    __table_args__ = (Index("ix_files_project_id_created_at_id", "project_id", "created_at", "id"),)
