"""How long what belongs to a project is kept, and what of it is gone."""

from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.base import Base


class ProjectRetentionRow(Base):
    """Periods of a project, in days; None: as the settings say; 0: for ever."""

    __tablename__ = "project_retention"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    body_days: Mapped[int | None]
    exchange_days: Mapped[int | None]
    training_log_days: Mapped[int | None]


class RetentionMarkRow(Base):
    """From when on a project's log is whole: what is older was removed, or is about to be. Written before the first row goes,
    so that nobody takes what is left for all that there was (gateway/metering/traffic_rebuild.py)."""

    __tablename__ = "retention_marks"

    project_id: Mapped[str] = mapped_column(primary_key=True)
    """Empty: of everybody, also of projects that nobody knows."""
    kind: Mapped[str] = mapped_column(primary_key=True)
    """bodies or exchanges."""
    until: Mapped[datetime]
    """A midnight (UTC)."""
    done: Mapped[datetime | None]
    """The mark up to which all of it is removed."""
