"""Rate limits that were set through the API; the settings hold those of tiers."""

from datetime import datetime

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.base import Base


class RateLimitRow(Base):
    """Limits of a project (all its keys together) or of one key, for one model or for all together.

    None leaves a limit to the tier.
    """

    __tablename__ = "rate_limits"

    id: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    api_key_id: Mapped[str | None] = mapped_column(ForeignKey("api_keys.id"))
    model: Mapped[str | None]
    """None: whatever model is called."""
    requests_per_minute: Mapped[int | None]
    tokens_per_minute: Mapped[int | None]
    requests_per_day: Mapped[int | None]
    tokens_per_day: Mapped[int | None]
    concurrent_requests: Mapped[int | None]
    images_per_minute: Mapped[int | None]
    """Kept and shown for OpenAI's clients; nothing here makes images, hears audio, or counts batches by the day."""
    audio_megabytes_per_minute: Mapped[int | None]
    batch_input_tokens_per_day: Mapped[int | None]

    __table_args__ = (UniqueConstraint("project_id", "api_key_id", "model", postgresql_nulls_not_distinct=True),)
