"""One exchange as it is written to the spool and then to the database."""

from typing import Literal

import msgspec

Outcome = Literal["completed", "client_left", "failed", "refused"]


class Record(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Columns of `exchanges`, in the order of the spool's format; new fields go to the end and have a default."""

    id: str
    created_at: float
    project_id: str
    api_key_id: str
    endpoint: str
    requested_model: str
    served_model: str | None
    upstream: str | None
    streamed: bool
    outcome: Outcome
    status: int
    error: bytes | None
    """JSON. Not msgspec.Raw, whose bytes would be taken for msgpack."""
    request: bytes
    reply: bytes | None
    """A JSON body; for a stream that an upstream sent its raw events, assembled when drained."""
    reply_id: str | None
    input_tokens: int | None
    cached_input_tokens: int | None
    output_tokens: int | None
    usage_estimated: bool
    cost_nano: int | None
    priced: bool
    duration_ms: float
    first_token_ms: float | None
    upstream_ms: float | None
    request_metadata: dict[str, str] | None
    route: str | None = None
    attempts: bytes | None = None
    """JSON, when there was more than one."""
    logging: str = "full"
    """What the key lets us keep of the bodies."""
    user_id: str = ""
    """Whom the key belongs to."""
    input_nano: int = 0
    """`cost_nano` is the sum of this and the next three."""
    cached_input_nano: int = 0
    output_nano: int = 0
    request_nano: int = 0
    purpose: str = ""
    """Of the key: judge or eval, where Tuneway itself asked."""
    end_user: str | None = None
    """Keyed hash of the user whom the call named."""
    stored: bool = False
    """The caller asked for it to be stored (`store: true`)."""
    verdicts: bytes | None = None
    """JSON: what rules said of the answer before it left (gateway/inline_rules.py); they become judgments."""

    cache_hit: bool = False
    """Nothing was asked upstream: the reply was kept of a call before (gateway/reply_cache/)."""


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Record).decode
