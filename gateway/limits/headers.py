"""How OpenAI tells of rate limits (contract section 0): `x-ratelimit-*` on replies, and a refusal's words."""

import math
import time
from collections.abc import Iterable

from gateway.errors import RateLimited
from gateway.limits.bucket import Bucket
from gateway.limits.buckets import Buckets
from gateway.limits.counters import Shortage
from gateway.limits.limit import Limit

AGAIN_SECONDS = 1.0
"""Where only the end of another call helps, nobody knows when."""


def headers(buckets: Buckets) -> dict[str, str]:
    """Of the tightest limit a minute, for requests and for tokens; nothing for what is not limited by the minute. A reset is
    when it is full again, in whole milliseconds, rounded up."""
    now = time.monotonic()
    found: dict[str, str] = {}
    if buckets.requests_a_minute:
        amount, remaining = _tightest(buckets.requests_a_minute, now)
        found["x-ratelimit-limit-requests"] = str(amount)
        found["x-ratelimit-remaining-requests"] = str(remaining)
        found["x-ratelimit-reset-requests"] = _written(-((remaining - amount) * 60_000 // amount))
    if buckets.tokens_a_minute:
        amount, remaining = _tightest(buckets.tokens_a_minute, now)
        found["x-ratelimit-limit-tokens"] = str(amount)
        found["x-ratelimit-remaining-tokens"] = str(remaining)
        found["x-ratelimit-reset-tokens"] = _written(-((remaining - amount) * 60_000 // amount))
    return found


def _tightest(buckets: Iterable[Bucket], now: float) -> tuple[int, int]:
    """What the one with the least left allows, and what is left; of two with as much left, the smaller one."""
    found, least = 0, -1
    for bucket in buckets:
        remaining, amount = bucket.remaining(now), bucket.limit.amount
        if least < 0 or remaining < least or (remaining == least and amount < found):
            found, least = amount, remaining
    return found, least


def duration(seconds: float) -> str:
    """As Go writes it, to the millisecond, rounded up: `12ms`, `1s`, `6m0s`, `51.189s`, `1h0m0s`; `0s` for none."""
    return _written(math.ceil(round(seconds * 1000, 6)))


def _written(ms: int) -> str:
    if ms < 1000:
        return f"{ms}ms" if ms else "0s"
    minutes, ms = divmod(ms, 60_000)
    hours, minutes = divmod(minutes, 60)
    rest = f"{ms / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + rest


def refusal(short: Shortage, model: str, buckets: Buckets) -> RateLimited:
    """For a client that called `model`."""
    limit, shown = short.bucket.limit, headers(buckets)
    if short.need > limit.amount:
        message = (
            f"Request too large for {_what(limit, model)} on {limit.kind.label}: Limit {limit.amount}, Requested"
            f" {short.need}. The input or output tokens must be reduced in order to run successfully."
        )
        return _refused(message, limit, shown | {"x-should-retry": "false"})
    wait = short.wait or AGAIN_SECONDS
    message = (
        f"Rate limit reached for {_what(limit, model)} on {limit.kind.label}: Limit {limit.amount}, Used"
        f" {min(short.used, limit.amount)}, Requested {short.need}. Please try again in {duration(wait)}."
    )
    if short.held_back:
        fewer = "have used less than their share" if limit.kind.period else "wait with fewer"
        message += f" What is left is kept for keys of the project that {fewer}."
    again = {"retry-after": str(max(1, math.ceil(wait))), "retry-after-ms": str(max(1, math.ceil(wait * 1000)))}
    return _refused(message, limit, shown | again)


def _refused(message: str, limit: Limit, shown: dict[str, str]) -> RateLimited:
    kind = limit.kind
    return RateLimited(message, type=kind.unit, headers=shown, limit=kind.field, shared=limit.is_shared)


def _what(limit: Limit, model: str) -> str:
    whose = f"with API key {limit.api_key_id}" if limit.api_key_id else f"in project {limit.project_id}"
    return f"`{limit.model}` {whose}" if limit.model else f"`{model}` {whose} (all models together)"
