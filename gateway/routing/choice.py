"""In which order the candidates of a plan are asked.

Weights by rendezvous hashing: every target gets the score -weight / ln(h) with h in (0, 1), and the highest is first.
With h from a hash of (client, target) a client keeps its target while weights change elsewhere: only the clients whose
highest score changes move, which is as few as possible (Schindelhauer and Schomaker, "Weighted distributed hash tables",
SPAA 2005). With a random h it is a draw by weight, and the rest of the order is one without putting back.
"""

import hashlib
import math
import random
from collections.abc import Callable

import msgspec

from gateway.protocol.envelope import ChatEnvelope, Envelope
from gateway.routing.load import Load
from gateway.routing.plan import Candidate, Plan

METADATA = "metadata."


class _Message(msgspec.Struct):
    role: str = ""


_decode_role = msgspec.json.Decoder(_Message).decode


def ordered(
    plan: Plan, envelope: Envelope, load: Load, draw: Callable[[], float] = random.random
) -> tuple[Candidate, ...]:
    """Every target by choice, then the fallbacks; only the first choice where the call must not fall back.

    Args:
        draw: a random number in [0, 1).
    """
    targets = plan.targets
    if len(targets) > 1:
        targets = _ordered_targets(plan, envelope, load, draw)
    candidates = (*targets, *plan.fallbacks)
    return candidates if plan.fall_back else candidates[:1]


def _ordered_targets(plan: Plan, envelope: Envelope, load: Load, draw: Callable[[], float]) -> tuple[Candidate, ...]:
    assert plan.route is not None
    spec = plan.route.spec
    client = sticky_key(spec.sticky, envelope) if spec.sticky else None
    salt = plan.route.id.encode()  # a client that is in the small share of one route is not in that of every other

    def score(target: Candidate) -> float:
        chance = draw() if client is None else _chance(salt, client, target.deployment.model)
        return -target.weight / math.log(min(max(chance, 1e-300), 1 - 2**-53))

    scores = {target.deployment.model: score(target) for target in plan.targets}
    if client is None and spec.balance == "least_load":
        return tuple(sorted(plan.targets, key=lambda each: (_load(each, load), -scores[each.deployment.model])))
    return tuple(sorted(plan.targets, key=lambda each: -scores[each.deployment.model]))


def sticky_key(by: str, envelope: Envelope) -> bytes | None:
    """What stays the same for one client; None where the call does not say, and then chance decides.

    Args:
        by: `user`, `metadata.KEY` or `conversation`: the system messages that lead, and the first one of the user, byte
            by byte, because every later call of a conversation begins with them.
    """
    if by == "user":
        user = bytes(envelope.user)
        return user if user not in (b"", b"null") else None
    if by.startswith(METADATA):
        value = (envelope.metadata or {}).get(by.removeprefix(METADATA))
        return value.encode() if value is not None else None
    return _opening(envelope.messages) if isinstance(envelope, ChatEnvelope) else None


def _opening(messages: list[msgspec.Raw]) -> bytes | None:
    opening: list[bytes] = []
    for message in messages:
        opening.append(bytes(message))
        if _role(message) not in ("system", "developer"):
            break
    return b"\n".join(opening) or None


def _role(message: msgspec.Raw) -> str:
    try:
        return _decode_role(message).role
    except (ValueError, RecursionError):
        return ""


def _chance(salt: bytes, client: bytes, model: str) -> float:
    digest = hashlib.blake2b(b"\0".join((salt, model.encode(), client)), digest_size=8).digest()
    return (int.from_bytes(digest) + 0.5) / 2**64


def _load(target: Candidate, load: Load) -> float:
    return load.of_model(target.deployment.model) / target.weight
