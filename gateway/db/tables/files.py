"""Uploaded files, whole or in parts; their contents are blobs (gateway/files/store.py)."""

from datetime import datetime
from typing import Any

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
    report: Mapped[dict[str, Any] | None]
    """The quality report of a training file (gateway/datasets/), once somebody asked for it."""

    __table_args__ = (Index("ix_files_project_id_created_at_id", "project_id", "created_at", "id"),)


class UploadRow(Base):
    """A file that arrives in parts (OpenAI's Uploads API)."""

    __tablename__ = "uploads"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    filename: Mapped[str]
    purpose: Mapped[str]
    bytes: Mapped[int]
    """As announced; the parts must add up to it."""
    mime_type: Mapped[str]
    status: Mapped[str]
    """pending, completed, cancelled or expired."""
    file_expires_after: Mapped[int | None]
    """Seconds."""
    file_id: Mapped[str | None] = mapped_column(ForeignKey("files.id"))

    __table_args__ = (Index("ix_uploads_status_expires_at", "status", "expires_at"),)


class UploadPartRow(Base):
    __tablename__ = "upload_parts"

    id: Mapped[str] = mapped_column(primary_key=True)
    """Also the key of its blob."""
    upload_id: Mapped[str] = mapped_column(ForeignKey("uploads.id"), index=True)
    created_at: Mapped[datetime]
    bytes: Mapped[int]
