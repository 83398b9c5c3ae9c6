"""Routes: a name that clients call, and what may answer it. /v1/routes (an extension) and [[routes]] of the settings."""

from typing import Literal

import msgspec

Condition = Literal["rate_limit", "server_error", "connection", "timeout", "context_length", "not_loaded"]
"""Why a target did not answer:

    rate_limit       429
    server_error     5xx, an answer that cannot be read, a stream that broke before its first token
    connection       it could not be reached, or hung up before it answered
    timeout          it did not connect, answer, or go on in time
    context_length   the call is longer than its model takes
    not_loaded       the engine has not got the adapter (yet), sleeps, or refuses it
"""
CONDITIONS: tuple[Condition, ...] = (
    "rate_limit",
    "server_error",
    "connection",
    "timeout",
    "context_length",
    "not_loaded",
)


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of what a route is made of: a typo is an error."""


class Target(Part, frozen=True):
    """One of the models that share the traffic of a route."""

    model: str
    """A model, a fine-tuned model or an alias; not a route."""
    weight: float = 1.0
    """Share of the traffic, against the sum of all weights. 0: none, but it stays in the list."""


class Fallback(Part, frozen=True):
    """What answers when no target did; tried in order."""

    model: str
    on: tuple[Condition, ...] = CONDITIONS
    """Only after such a failure. `["context_length"]` names a model with a longer context."""


class Retries(Part, frozen=True):
    """Of one target, before the next one is tried; waits grow twofold, with jitter, and honour Retry-After up to the
    longest."""

    count: int = 1
    backoff_ms: int = 200
    max_backoff_ms: int = 5000


class RouteTimeouts(Part, frozen=True):
    """Seconds; None leaves the setting in [timeouts]."""

    connect: float | None = None
    first_token: float | None = None
    """From sending a call to the first piece of its answer."""
    idle: float | None = None
    """Between two pieces of a stream."""
    total: float | None = None
    """For the whole call, all tries included, until its first token; and for a stream until its end."""


class Breaker(Part, frozen=True):
    """A target that fails again and again gets no traffic for a while, then one call at a time until one succeeds."""

    failures: int = 5
    """In a row, in one gateway process; 0: never."""
    open_seconds: float = 10.0


class Hedge(Part, frozen=True):
    """A second target is asked, too, when the first has not answered in time; the first answer wins."""

    after_ms: int


class RouteSpec(Part, frozen=True):
    """What a route does."""

    targets: tuple[Target, ...]
    """The models that share the traffic, by weight."""
    fallbacks: tuple[Fallback, ...] = ()
    """What answers when no target did, in order; each only after the failures in its `on`."""
    sticky: str | None = None
    """What keeps a client at its target: `user`, `conversation` (its first messages) or `metadata.KEY`."""
    balance: Literal["weight", "least_load"] = "weight"
    """`least_load`: among the targets with a weight, the one with the fewest calls under way for its weight."""
    retries: Retries = Retries()
    """Of one target before the next one, with waits that grow twofold up to the longest."""
    timeouts: RouteTimeouts = RouteTimeouts()
    """Seconds: connect, first_token, idle (between two pieces of a stream), total; else those of [timeouts]."""
    breaker: Breaker = Breaker()
    """A target that fails so often in a row gets no traffic for open_seconds, then one call at a time until one succeeds."""
    hedge: Hedge | None = None
    """{ after_ms = 500 }: a second target is asked, too, when the first has not answered in time. Off unless given."""
