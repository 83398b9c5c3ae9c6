"""What this installation trains on, and how fast it was: estimates start from it."""

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.base import Base


class TrainingHardwareRow(Base):
    """One machine with a worker on it."""

    __tablename__ = "training_hardware"

    host: Mapped[str] = mapped_column(primary_key=True)
    description: Mapped[dict[str, Any]]
    """What `python -m trainer --hardware` prints."""
    seen_at: Mapped[datetime]


class TrainingSpeedRow(Base):
    """The last measurement of one kind of run."""

    __tablename__ = "training_speeds"

    base_model: Mapped[str] = mapped_column(primary_key=True)
    method: Mapped[str] = mapped_column(primary_key=True)
    training_type: Mapped[str] = mapped_column(primary_key=True)
    device: Mapped[str] = mapped_column(primary_key=True)
    tokens_per_second: Mapped[float]
    peak_memory_bytes: Mapped[int | None]
    measured_at: Mapped[datetime]
