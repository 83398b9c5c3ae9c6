"""Prices, each from a moment on."""

from datetime import datetime

from sqlalchemy import UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.base import Base


class PriceRow(Base):
    """What a model costs from `effective_at` until the next price of the same model. Nano-dollars; per 1M tokens."""

    __tablename__ = "prices"

    id: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]
    model: Mapped[str]
    effective_at: Mapped[datetime]
    input_nano: Mapped[int]
    cached_input_nano: Mapped[int | None]
    """None: like other input."""
    output_nano: Mapped[int]
    request_nano: Mapped[int]
    """For each request, whatever its tokens."""
    training_nano: Mapped[int | None]
    """Per 1M trained tokens."""
    training_hour_nano: Mapped[int | None]
    """Per hour of one device in training."""
    max_output_tokens: Mapped[int | None]
    """The most that the model ever answers: what a call that names no limit can cost."""

    __table_args__ = (UniqueConstraint("model", "effective_at"),)
