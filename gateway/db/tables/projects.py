"""Projects and their service accounts (OpenAI's Administration API, contract section 8)."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.base import Base


class ProjectRow(Base):
    __tablename__ = "projects"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    created_at: Mapped[datetime]
    archived_at: Mapped[datetime | None]
    tier: Mapped[str | None]
    """A class of rate limits from the settings; None for the default one."""
    model_permissions: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    """OpenAI's object: {"mode": "allow_list" | "deny_list", "model_ids": [...]}; None allows every model."""

    __table_args__ = (Index("ix_projects_created_at_id", "created_at", "id"),)


class ServiceAccountRow(Base):
    """Whom a key belongs to: a program, not a person."""

    __tablename__ = "service_accounts"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str]
    role: Mapped[str]
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]

    __table_args__ = (Index("ix_service_accounts_project_id_created_at", "project_id", "created_at"),)
