"""Routes: a name that clients call, and what may answer it. /v1/routes (an extension) and [[routes]] of the settings."""

from typing import Any, Literal

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


class Check(Part, frozen=True):
    """Rules that every answer of the route is held against before it leaves (docs/validators.md)."""

    name: str
    """What flags and judgments call it."""
    rules: tuple[dict[str, Any], ...] = ()
    """[{"type": "json"}, ...]; an answer passes when it passes all of them."""
    judge: str | None = None
    """In their place: a judge of the route's project that has rules, by name or id; those that it has when the route is
    written are taken."""
    judge_version_id: str | None = None
    """Its version; filled in."""
    mode: Literal["flag", "block"] = "flag"
    """`flag`: the answer leaves with the header x-tuneway-flags. `block`: it does not, a refusal takes its place."""
    timeout_ms: int = 500
    """An answer that is not checked by then leaves, flagged as an error."""


class FewShot(Part, frozen=True):
    """Training examples that are shown to the model with every call of a project: those most like its question
    (docs/examples.md)."""

    count: int = 3
    """At most."""
    tags: tuple[str, ...] = ()
    """Only examples with all of these."""
    max_tokens: int = 1000
    """Of all of them together, about."""
    min_score: float | None = None
    """Only examples that were validated with this score or more, 0 to 1."""


class RouteCache(Part, frozen=True):
    """Answers are kept, and given again to calls of the same project that ask the very same (docs/caching.md)."""

    mode: Literal["temperature_0", "opt_in"] = "temperature_0"
    """`temperature_0`: calls with temperature 0, and others that say `x-tuneway-cache: on`. `opt_in`: only these."""
    ttl_seconds: int = 3600
    """How long an answer is given again."""


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
    checks: tuple[Check, ...] = ()
    """Rules that answers are held against before they leave: [{ name = "json", rules = [{ type = "json" }], mode = "block" }]."""
    few_shot: FewShot | None = None
    """{ count = 3 }: the validated training examples that are most like the question are put into the prompt."""
    cache: RouteCache | None = None
    """{ ttl_seconds = 3600 }: calls that ask the very same get the same answer. Off unless given."""


class RouteCreate(RouteSpec, frozen=True, kw_only=True):
    """The body of POST /v1/routes."""

    name: str
    """What clients send as `model`."""
    project_id: str | None = None
    """Whose calls it answers; left out: every project's."""


class RouteUpdate(Part, frozen=True):
    """The body of POST /v1/routes/{route_id}: what is given takes the place of what was there, the rest stays."""

    targets: tuple[Target, ...] | msgspec.UnsetType = msgspec.UNSET
    fallbacks: tuple[Fallback, ...] | msgspec.UnsetType = msgspec.UNSET
    sticky: str | msgspec.UnsetType | None = msgspec.UNSET
    balance: Literal["weight", "least_load"] | msgspec.UnsetType = msgspec.UNSET
    retries: Retries | msgspec.UnsetType = msgspec.UNSET
    timeouts: RouteTimeouts | msgspec.UnsetType = msgspec.UNSET
    breaker: Breaker | msgspec.UnsetType = msgspec.UNSET
    hedge: Hedge | msgspec.UnsetType | None = msgspec.UNSET
    checks: tuple[Check, ...] | msgspec.UnsetType = msgspec.UNSET
    few_shot: FewShot | msgspec.UnsetType | None = msgspec.UNSET
    cache: RouteCache | msgspec.UnsetType | None = msgspec.UNSET
    if_revision: int | None = None
    """Refuse the change when the route is at another revision by now."""


class RouteRollback(Part, frozen=True):
    """The body of POST /v1/routes/{route_id}/rollback; may be left out."""

    revision: int | None = None
    """Which one to go back to; left out: the one before the current, or before what the current one repeats."""
    if_revision: int | None = None
    """Refuse when the route is at another revision by now: two people who press the button at once go back once."""


class RouteObject(msgspec.Struct, kw_only=True):
    """A route as /v1/routes shows it."""

    id: str
    object: str = "route"
    name: str
    project_id: str | None
    revision: int
    created_at: int
    updated_at: int
    targets: tuple[Target, ...] = ()
    fallbacks: tuple[Fallback, ...] = ()
    sticky: str | None = None
    balance: Literal["weight", "least_load"] = "weight"
    retries: Retries = Retries()
    timeouts: RouteTimeouts = RouteTimeouts()
    breaker: Breaker = Breaker()
    hedge: Hedge | None = None
    checks: tuple[Check, ...] = ()
    few_shot: FewShot | None = None
    cache: RouteCache | None = None
    source: Literal["api", "settings"]
    """Routes of the settings have no history (revision 0) and are changed in the configuration file."""
    problems: list[str]
    """Why it does less than it says: models that are gone, or that it may not call any more."""


class RouteRevision(msgspec.Struct, kw_only=True):
    """What a route did from one moment to the next."""

    id: str
    """`{route_id}.{number}`, for paging."""
    object: str = "route.revision"
    route_id: str
    number: int
    spec: dict[str, Any]
    """Every field of a RouteSpec, as it was stored."""
    created_at: int
    created_by: str
    """The api key that made it."""
    restores: int | None
    """A rollback: the number of the revision that it repeats."""
