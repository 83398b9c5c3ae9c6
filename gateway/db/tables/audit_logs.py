"""Every administrative change: what, who, and from where (contract section 8)."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.base import Base


class AuditLogRow(Base):
    """Written in the transaction of the change itself; never changed."""

    __tablename__ = "audit_logs"

    id: Mapped[str] = mapped_column(primary_key=True)
    effective_at: Mapped[datetime]
    type: Mapped[str]
    """One of OpenAI's event types."""
    project_id: Mapped[str | None]
    actor: Mapped[dict[str, Any]]
    """OpenAI's actor object, as it is shown."""
    actor_id: Mapped[str | None]
    """A user's id, or that of an API key."""
    actor_email: Mapped[str | None]
    resource_id: Mapped[str | None]
    detail: Mapped[dict[str, Any]]
    """What is shown below the key that is named like the type."""

    __table_args__ = (
        Index("ix_audit_logs_effective_at_id", "effective_at", "id"),
        Index("ix_audit_logs_project_id_effective_at_id", "project_id", "effective_at", "id"),
        Index("ix_audit_logs_type_effective_at_id", "type", "effective_at", "id"),
        Index("ix_audit_logs_actor_id_effective_at_id", "actor_id", "effective_at", "id"),
        Index("ix_audit_logs_actor_email_effective_at_id", "actor_email", "effective_at", "id"),
        Index("ix_audit_logs_resource_id_effective_at_id", "resource_id", "effective_at", "id"),
    )
