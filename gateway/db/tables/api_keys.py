"""API keys: only a keyed hash of the secret is stored."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.dialects.postgresql import JSONB
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
    user_id: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    """The person it belongs to; for an admin key, who made it. A project's key belongs to an account or to a person."""
    role: Mapped[str] = mapped_column(default="owner", server_default="owner")
    """Of an admin key: owner, or reader (GET only)."""
    tags: Mapped[list[str]] = mapped_column(default=list, server_default="[]")
    allowed_models: Mapped[list[str] | None] = mapped_column(JSONB(none_as_null=True))
    """Models and routes that it may call, by the names that clients send; None for all."""
    scopes: Mapped[list[str] | None] = mapped_column(JSONB(none_as_null=True))
    """Endpoints that it may use (gateway/keys/scopes.py); None for all."""
    logging: Mapped[str] = mapped_column(default="full", server_default="full")
    """What the exchange log keeps of its calls: full, metadata (no bodies) or off (the bill alone)."""
    purpose: Mapped[str] = mapped_column(default="", server_default="")
    """judge or eval: Tuneway itself calls with it on the project's behalf (gateway/db/tables/judging.py)."""
    tier: Mapped[str | None]
    """A class of rate limits from the settings; None for the project's."""
    old_hash: Mapped[bytes | None]
    """Of the secret that the present one replaced: a rotated key keeps its id, and with it its budgets, limits and usage."""
    old_hash_expires_at: Mapped[datetime | None]
    """Until then both secrets work."""
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("project_id IS NOT NULL OR service_account_id IS NULL", name="admin_or_project"),
        CheckConstraint("project_id IS NULL OR (service_account_id IS NULL) <> (user_id IS NULL)", name="one_owner"),
        Index("ix_api_keys_project_id_created_at", "project_id", "created_at"),
    )
