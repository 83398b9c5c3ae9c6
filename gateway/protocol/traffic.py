"""/v1/organization/traffic (an extension): what came in, what became of it, how long it took and what it cost."""

import msgspec


class AnswerTimes(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds by nearest rank: of minutes exact, else within 4.9%."""

    n: int
    """Of how many answers."""
    p50_ms: float
    p95_ms: float
    p99_ms: float


class Traffic(msgspec.Struct, kw_only=True):
    """Of one group. The keys from `project_id` on are null unless grouped by, or where nobody was asked."""

    object: str = "organization.traffic.result"
    requests: int
    client_errors: int
    """Answered with 4xx."""
    server_errors: int
    """Refused with 5xx: nobody could be asked."""
    upstream_errors: int
    """Somebody was asked and failed, also in the middle of a stream."""
    client_left: int
    fallbacks: int
    """Calls for which more than one attempt was made."""
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    cost_nano: int
    cost_usd: float
    unpriced_requests: int
    latency: AnswerTimes | None
    """Of completed calls; null: there was none."""
    first_token: AnswerTimes | None
    """Until the first piece of a streamed answer."""
    project_id: str | None = None
    api_key_id: str | None = None
    api_key_name: str | None = None
    """Also of a key that was revoked."""
    model: str | None = None
    """That answered, or was asked last."""
    upstream: str | None = None
    purpose: str | None = None
    """Empty: of applications; judge, eval or guidance: Tuneway's own."""


class TrafficBucket(msgspec.Struct, kw_only=True):
    object: str = "bucket"
    start_time: int
    end_time: int
    results: list[Traffic]


class TrafficReport(msgspec.Struct, kw_only=True):
    object: str = "organization.traffic"
    start_time: int
    """The times asked for, widened to whole buckets (UTC)."""
    end_time: int
    """Exclusive."""
    data: list[TrafficBucket]
    """Oldest first."""
    totals: list[Traffic]
    """Of each group in the whole time, most requests first."""
    groups: int
    """How many there were. Shown are those with the most requests, at most `group_limit`."""
    complete: bool
    """False: there were more calls in the minutes than the newest 10,000, which are counted."""
