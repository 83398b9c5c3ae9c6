"""Providers that were added through the API."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.base import Base


class UpstreamRow(Base):
    """A base URL that speaks OpenAI's API, or another that is translated."""

    __tablename__ = "upstreams"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    kind: Mapped[str]
    """openai or anthropic."""
    base_urls: Mapped[list[str]]
    models: Mapped[list[Any]]
    """Names as clients call them, or {"model", "served_name"}."""
    headers: Mapped[dict[str, Any]]
    secret_headers: Mapped[list[str]]
    """Names of the headers whose values are sealed."""
    encrypted_headers: Mapped[bytes | None]
    """JSON of those headers, sealed like the key."""
    encrypted_key: Mapped[bytes | None]
    """AES-256-GCM; gateway/kit/sealing.py."""
    key_hint: Mapped[str | None]
    """The key's last characters."""
    organization: Mapped[str | None]
    project: Mapped[str | None]
    proxy: Mapped[str | None]
    """Without user and password."""
    encrypted_proxy: Mapped[bytes | None]
    """The whole URL, where it has them."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]

    __table_args__ = (Index("uq_upstreams_name", "name", unique=True, postgresql_where=text("deleted_at IS NULL")),)
