"""Projects and their service accounts (OpenAI's Administration API, contract section 8)."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.base import Base


class ProjectRow(Base):
    __tablename__ = "projects"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    created_at: Mapped[datetime]
    archived_at: Mapped[datetime | None]

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
