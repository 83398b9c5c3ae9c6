"""What is told as not as it should be, while it lasts."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.base import Base


class AlertRow(Base):
    """An alert that a worker or a gateway has found; it ends when nobody has found it again for a while."""

    __tablename__ = "alerts"

    id: Mapped[str] = mapped_column(primary_key=True)
    """What is wrong with what: the same for everybody who finds it, and each time."""
    kind: Mapped[str]
    project_id: Mapped[str | None]
    started_at: Mapped[datetime]
    """When it was found first."""
    seen_at: Mapped[datetime]
    """When it was found last."""
    alert: Mapped[dict[str, Any]]
    """As the API shows it (gateway/protocol/alerts.py), as it was found last; `since` is what it was at first."""

    __table_args__ = (Index("ix_alerts_kind_project_id", "kind", "project_id"),)
