"""What was found to go wrong in a project, kept so that asking for it costs nothing."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.base import Base


class GuidanceReportRow(Base):
    """One project's, of one set of filters; a worker fills it in (gateway/tasks/guide_projects.py). It names exchanges and
    repeats none of their texts."""

    __tablename__ = "guidance_reports"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    filters_key: Mapped[str] = mapped_column(primary_key=True)
    """Hash of `filters`."""
    filters: Mapped[dict[str, Any]]
    asked_at: Mapped[datetime]
    computed_at: Mapped[datetime | None]
    """None: not yet, or exchanges were erased since."""
    generation: Mapped[int] = mapped_column(default=0, server_default="0")
    """Goes up when exchanges are erased: whoever computes meanwhile has seen what is gone, and stores nothing."""
    report: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    """gateway/protocol/guidance.py: Report."""
