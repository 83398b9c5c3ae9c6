"""Webhooks and what is still to be delivered to them."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.base import Base


class WebhookRow(Base):
    __tablename__ = "webhooks"

    id: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]
    name: Mapped[str | None]
    url: Mapped[str]
    events: Mapped[list[str]]
    """Types of events that it gets."""
    secret: Mapped[bytes]
    """Sealed (gateway/kit/sealing.py): it signs every delivery (standardwebhooks.com)."""
    secret_hint: Mapped[str]
    """What of the secret may be shown: its last characters."""
    previous_secret: Mapped[bytes | None]
    """Sealed. After a rotation it signs, too, until `previous_until`."""
    previous_until: Mapped[datetime | None]
    updated_at: Mapped[datetime]
    failing_since: Mapped[datetime | None]
    """The first failure after the last delivery that was taken."""
    problem: Mapped[str | None]
    """Why it was disabled."""
    disabled_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]

    __table_args__ = (Index("ix_webhooks_created_at_id", "created_at", "id"),)


class WebhookDeliveryRow(Base):
    """One event for one webhook, made in the transaction that tells of the event; tried until it is taken."""

    __tablename__ = "webhook_deliveries"

    id: Mapped[str] = mapped_column(primary_key=True)
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhooks.id"))
    event_id: Mapped[str]
    type: Mapped[str]
    body: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    attempts: Mapped[int]
    next_at: Mapped[datetime | None]
    """When it is tried (again); None once it was taken or given up."""
    delivered_at: Mapped[datetime | None]
    last_status: Mapped[int | None]
    last_error: Mapped[str | None]

    __table_args__ = (
        Index("ix_webhook_deliveries_due", "webhook_id", "next_at", postgresql_where=text("next_at IS NOT NULL")),
        Index("ix_webhook_deliveries_webhook_id_created_at", "webhook_id", "created_at"),
    )
