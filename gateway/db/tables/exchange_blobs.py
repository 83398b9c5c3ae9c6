"""Blobs that have bodies of exchanges."""

from datetime import datetime

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.base import Base


class ExchangeBlobRow(Base):
    """Written before the blob, so that none is ever without a row (gateway/exchanges/bodies.py)."""

    __tablename__ = "exchange_blobs"

    key: Mapped[str] = mapped_column(primary_key=True)
    """In the file storage; each attempt to write an exchange to the log has a key of its own."""
    exchange_id: Mapped[str]
    created_at: Mapped[datetime]
    settled: Mapped[bool]
    """The transaction that writes the exchange knew of it. Where that never came, whoever wrote the blob has died."""
    doomed_at: Mapped[datetime | None]
    """Nothing refers to it any more; a worker removes it."""

    __table_args__ = (
        Index("ix_exchange_blobs_exchange_id", "exchange_id"),
        Index("ix_exchange_blobs_doomed_at", "doomed_at", postgresql_where=text("doomed_at IS NOT NULL")),
        Index("ix_exchange_blobs_unsettled", "created_at", postgresql_where=text("NOT settled")),
    )
