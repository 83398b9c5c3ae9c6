"""API keys: only a keyed hash of the secret is stored."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.base import Base


class ApiKeyRow(Base):
    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    hash: Mapped[bytes] = mapped_column(unique=True)
    redacted_value: Mapped[str]
    project_id: Mapped[str | None] = mapped_column(ForeignKey("projects.id"))
    """None for an admin key."""
    service_account_id: Mapped[str | None] = mapped_column(ForeignKey("service_accounts.id"))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("(project_id IS NULL) = (service_account_id IS NULL)", name="admin_or_project"),
        Index("ix_api_keys_project_id_created_at", "project_id", "created_at"),
    )
