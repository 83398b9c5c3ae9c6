"""The exchange log: one row a call, written from the spool. The truth about usage and cost."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, text
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.base import Base
from gateway.db.bodies import Body


class ExchangeRow(Base):
    """No foreign keys: the log outlives what it names, and a row is never refused for a missing parent."""

    __tablename__ = "exchanges"

    id: Mapped[str] = mapped_column(primary_key=True)
    """The request id that the client saw."""
    created_at: Mapped[datetime]
    project_id: Mapped[str]
    api_key_id: Mapped[str]
    endpoint: Mapped[str]
    requested_model: Mapped[str]
    served_model: Mapped[str | None]
    """None when nothing was asked upstream."""
    route: Mapped[str | None]
    """The route that the called name stood for."""
    attempts: Mapped[list[Any] | None]
    """Every try, when there was more than one: {"model", "upstream", "failure", "ms"}; the last one answered, or nobody did."""
    upstream: Mapped[str | None]
    streamed: Mapped[bool]
    outcome: Mapped[str]
    """completed, client_left, failed (an upstream) or refused (by us)."""
    status: Mapped[int]
    """HTTP status that was sent; 200 for a stream that broke later."""
    error: Mapped[dict[str, Any] | None]
    request: Mapped[bytes] = mapped_column(Body)
    """The body as it came."""
    reply: Mapped[bytes | None] = mapped_column(Body)
    """A JSON body, assembled from the chunks of a stream."""
    reply_id: Mapped[str | None]
    """The upstream's `chatcmpl-...`, by which a client names the exchange."""
    input_tokens: Mapped[int | None]
    cached_input_tokens: Mapped[int | None]
    output_tokens: Mapped[int | None]
    usage_estimated: Mapped[bool]
    """True when the upstream never told its usage and it was derived from the text."""
    cost_nano: Mapped[int | None]
    """Nano-dollars; None when the model has no price or nothing was served."""
    priced: Mapped[bool]
    """False when usage met no price: visible in the costs API instead of a silent zero."""
    duration_ms: Mapped[float]
    first_token_ms: Mapped[float | None]
    """Until the first piece of a streamed reply."""
    upstream_ms: Mapped[float | None]
    request_metadata: Mapped[dict[str, Any] | None]
    logging: Mapped[str] = mapped_column(default="full", server_default="full")
    """What the key lets us keep: full; metadata (request and reply are empty); off (also out of /v1/exchanges)."""

    purpose: Mapped[str] = mapped_column(default="", server_default="")
    """Why it was made, where Tuneway itself asked: judge, eval or guidance. Such exchanges are never judged or learnt from."""
    end_user: Mapped[str | None]
    """Keyed hash of the product's user whom the call named (`safety_identifier` or `user`)."""
    cache_hit: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    """Nothing was asked upstream, and nothing metered: the reply was kept of a call before."""

    __table_args__ = (
        Index("ix_exchanges_created_at", "created_at"),
        Index("ix_exchanges_project_id_id", "project_id", "id"),
        # Partial, so that a list of a project that the statistics do not know yet is never read by it, and sorted.
        Index(
            "ix_exchanges_project_id_reply_id", "project_id", "reply_id", postgresql_where=text("reply_id IS NOT NULL")
        ),
        Index(
            "ix_exchanges_project_id_end_user",
            "project_id",
            "end_user",
            postgresql_where=text("end_user IS NOT NULL"),
        ),
        {"postgresql_partition_by": "RANGE (id)"},  # by months: gateway/db/partitions.py
    )


class UnreadExchangeRow(Base):
    """An exchange whose text a worker is still to read (gateway/exchanges/reading.py). Written with the log, in one
    transaction: the path of a call knows nothing of it."""

    __tablename__ = "unread_exchanges"

    exchange_id: Mapped[str] = mapped_column(primary_key=True)


class ExchangeTextRow(Base):
    """What an exchange says, to be found and to be shown in lists. Only of what is kept in full; erased with it."""

    __tablename__ = "exchange_texts"

    exchange_id: Mapped[str] = mapped_column(primary_key=True)
    question: Mapped[str]
    """Its first words."""
    answer: Mapped[str]
    words: Mapped[str] = mapped_column(TSVECTOR)
    """Of both, lower-cased and otherwise as they are written, in whatever language; and the project as a word of its own,
    so that the index finds a project's exchanges without reading those of others."""

    __table_args__ = (
        Index("ix_exchange_texts_words", "words", postgresql_using="gin"),
        {"postgresql_partition_by": "RANGE (exchange_id)"},  # as the exchanges
    )
