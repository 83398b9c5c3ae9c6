"""Where a call meets the reply cache: whether it is concerned, under which name its answer is kept, and which answers are.

Called only for models and routes that have a cache (`Plan.cache`); what counts and why: docs/caching.md.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from gateway.exchanges.checked import CheckSaid
from gateway.keys.ring import ApiKey
from gateway.protocol.routes import RouteCache
from gateway.reply_cache import asked, storable
from gateway.reply_cache.service import Name
from gateway.reply_cache.wish import Wish, wish_of
from gateway.routing.attempts import Answered
from gateway.routing.plan import Candidate, Plan
from gateway.services import Services
from gateway.streamed_reply import StreamedReply

HEADER = "x-tuneway-cache"
KEPT_LOGGING = "full"
BY_WHO_ASKS = ("user", "metadata.")
"""How a route's `sticky` begins, where who asks decides what answers."""

Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the answer of a call is kept."""

    name: Name
    seconds: int
    models: frozenset[str]
    """Only their answers are: one that stood in for them would stay when they are back."""
    is_read: bool
    """False: what is there is to be replaced."""


class Replayed(StreamedReply):
    """A stream that no upstream sends."""

    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__(headers, None, 0.0)  # type: ignore[arg-type]  # it is only ever hung up, which is nothing here

    def hang_up(self, *, finished: bool = False) -> None:
        return


def place_of(sv: Services, key: ApiKey, plan: Plan, endpoint: str, headers: Headers, body: bytes) -> Place | None:
    """None where the cache is not concerned. Never with what Tuneway asks itself, nor with a key that keeps no bodies.

    Args:
        body: as it is sent upstream, the examples of a route in it.

    Raises:
        InvalidRequest: a header says what nobody understands.
    """
    wanted = plan.cache
    if wanted is None or key.purpose or key.logging != KEPT_LOGGING or not plan.targets:
        return None
    wish = wish_of(headers)
    if wish is Wish.OFF or len(body) > sv.settings.cache.max_entry_bytes or not _is_asked_for(wish, wanted, body):
        return None
    sticky = plan.route.spec.sticky if plan.route else None
    said = asked.canonical(body, who_asks=bool(sticky and sticky.startswith(BY_WHO_ASKS)))
    if said is None:
        return None
    name = sv.replies.name_of(key.project_id, (endpoint.encode(), *_of_plan(sv, plan), said))
    models = frozenset(each.deployment.model for each in plan.targets)
    return Place(name, wanted.ttl_seconds, models, is_read=wish is not Wish.REFRESH)


def keep(sv: Services, place: Place, answered: Answered[Any], reply: bytes, request: bytes, exchange_id: str) -> None:
    """Keep a whole answer, where it may be given again.

    Args:
        request: as the client sent it.
    """
    model = answered.deployment.model
    if answered.fallback is not None or model not in place.models or len(reply) > sv.settings.cache.max_entry_bytes:
        return
    if storable.is_storable(reply, request):
        sv.replies.put(place.name, reply, model, exchange_id, place.seconds)


def passed(verdicts: Iterable[CheckSaid]) -> bool:
    """Whether rules of the route had nothing against an answer; one that was flagged, withheld or not checked in time is not kept."""
    return all(each.passed for each in verdicts)


def _is_asked_for(wish: Wish, wanted: RouteCache, body: bytes) -> bool:
    if wish is Wish.ON:
        return True
    return wanted.mode == "temperature_0" and asked.is_greedy(body)


def _of_plan(sv: Services, plan: Plan) -> Iterator[bytes]:
    """Everything that decides who answers, and with what: another revision or split, or a model that moved, finds nothing."""
    if route := plan.route:
        yield f"{route.id}@{route.revision}".encode()
        if not route.revision:  # of the settings, which have no history
            yield msgspec.json.encode(route.spec)
    for candidate in (*plan.targets, *plan.fallbacks):
        yield _of_candidate(sv, candidate)


def _of_candidate(sv: Services, candidate: Candidate) -> bytes:
    deployment, upstream = candidate.deployment, candidate.deployment.upstream
    weights = sv.settings.engine.model_path if upstream.is_engine else ""
    where = [deployment.model, deployment.served_name, deployment.adapter_path, upstream.name, upstream.base_urls]
    return msgspec.json.encode([*where, candidate.weight, weights])
