"""The exchange log: /v1/exchanges, an extension in OpenAI's conventions."""

from typing import Any

import msgspec

from gateway.protocol.lists import CursorList


class ExchangeUsage(msgspec.Struct, kw_only=True):
    """Tokens. Cached input is part of input."""

    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    estimated: bool
    """The upstream never told its usage; it was derived from the text."""


class ExchangePreview(msgspec.Struct, kw_only=True):
    """The first 200 characters of each, in one line."""

    question: str
    """Of the last message that is not the model's."""
    answer: str


class CostParts(msgspec.Struct, kw_only=True):
    """Nano-dollars; `cost_nano` is their sum."""

    input_nano: int
    """Without what was cached."""
    cached_input_nano: int
    output_nano: int
    request_nano: int
    """For the call itself, whatever its length."""


class Exchange(msgspec.Struct, kw_only=True):
    """One call and its reply. A list leaves out the bodies: `request`, `request_text`, `reply`, `reply_text`."""

    id: str
    """The `x-request-id` that the client saw."""
    object: str = "exchange"
    created_at: int
    endpoint: str
    requested_model: str
    served_model: str | None
    route: str | None
    """`name@revision` of the route that the requested name stood for."""
    attempts: list[dict[str, Any]] | None
    """Every try, when there was more than one, in the order in which they ended: {"model", "upstream", "failure", "ms"}.
    `failure` is null for the one that answered, else rate_limit, server_error, connection, timeout, context_length,
    not_loaded, cancelled (hung up: another was faster, the client left, time was over), or the code of the error that
    was passed on."""
    upstream: str | None
    streamed: bool
    outcome: str
    """completed, client_left, failed (an upstream) or refused (by us)."""
    status: int
    error: dict[str, Any] | None
    """OpenAI's error object, also of a stream that broke after its 200."""
    request: msgspec.Raw | msgspec.UnsetType | None = msgspec.UNSET
    """The body as it came; null when it was not JSON."""
    request_text: str | msgspec.UnsetType = msgspec.UNSET
    """Only when `request` is null."""
    reply: msgspec.Raw | msgspec.UnsetType | None = msgspec.UNSET
    """The body as it was sent; of a stream, the body that it would have been. Null when there was none."""
    reply_text: str | msgspec.UnsetType = msgspec.UNSET
    """Only when a reply was not JSON."""
    reply_id: str | None
    usage: ExchangeUsage | None
    cost_usd: str | None
    """Exact dollars as a decimal number."""
    cost_nano: int | None
    """The same in nano-dollars (1e-9 USD)."""
    priced: bool
    """False: there was usage, and the model had no price."""
    duration_ms: float
    first_token_ms: float | None
    upstream_ms: float | None
    api_key_id: str
    logging: str
    """What the key lets us keep: full, or metadata (the bodies are null)."""
    metadata: dict[str, Any] | None
    purpose: str
    """Why it was made, where Tuneway itself asked: judge, eval or guidance; else empty."""
    end_user: str | None
    """Keyed hash of the user whom the call named."""
    cache_hit: bool
    """The reply was kept of a call before: nothing was asked upstream, and nothing metered."""
    cost_parts: CostParts | msgspec.UnsetType | None = msgspec.UNSET
    """Only of a single exchange; null without usage."""
    preview: ExchangePreview | msgspec.UnsetType | None = msgspec.UNSET
    """Only in a list, with `include[]=preview`; null where no texts are kept, and for a second or so after the call."""


class ExchangeList(CursorList, kw_only=True):
    continue_from: str | None = None
    """A search, or a list with `scan_limit`, ended here: there may be more, from `after` this exchange on (`before`, when
    that was given)."""


class ExchangesDeleted(msgspec.Struct, kw_only=True):
    """Of an end user."""

    object: str = "exchange.deleted"
    deleted: bool = True
    exchanges: int
    """How many were not deleted before. Those that are still on their way to the log are erased as well, uncounted."""
