"""Circuit breakers: a model that fails again and again on a replica gets no calls for a while.

Closed until `failures` in a row; then open for `open_seconds`; then half open: one call at a time is let through, until
one succeeds (closed) or fails (open again). A failure is what says that the upstream is ill: a 5xx, a connection that
breaks, a timeout. A 429, a call that is too long or an adapter that is not loaded says that it is alive.

The state is shared by all calls of this process; how many failures are too many is each route's own decision.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from gateway.protocol.routes import Breaker, Condition

ILL: frozenset[Condition] = frozenset(("server_error", "connection", "timeout"))
Key = tuple[str, str, str]
"""Upstream's name, base URL of the replica, model."""
FORGOTTEN_SECONDS = 600.0
"""So long after its last call, what failed then is no news: whoever was deleted, or given another address, gets none."""


@dataclass(slots=True)
class Failing:
    """What fails now; what does not has no entry."""

    condition: Condition
    spec: Breaker
    """Of the call that failed last."""
    failures: int = 0
    failed_at: float = 0.0
    probing: bool = False
    """Half open, and a call is under way."""

    def opens(self, spec: Breaker) -> bool:
        return 0 < spec.failures <= self.failures


class Breakers:
    """One for each model on each replica.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.failing: dict[Key, Failing] = {}
        """What has failed since it last answered: nothing, most of the time."""

    def admit(self, key: Key, spec: Breaker) -> bool:
        """Whether a call may be sent; then `succeeded`, `failed` or `abandoned` follows."""
        if not self.failing:
            return True
        state = self.failing.get(key)
        if state is None or not state.opens(spec):
            return True
        if state.probing or self.seconds_left(key, spec) > 0:
            return False
        state.probing = True
        return True

    def succeeded(self, key: Key) -> None:
        """The upstream answered, be it with a refusal that shows it alive."""
        self.failing.pop(key, None)

    def failed(self, key: Key, condition: Condition, spec: Breaker) -> None:
        """A call failed by one of ILL."""
        state = self.failing.setdefault(key, Failing(condition, spec))
        state.condition, state.spec, state.probing = condition, spec, False
        state.failures += 1
        state.failed_at = self._clock()

    def abandoned(self, key: Key) -> None:
        """The call ended without an answer of the upstream: nothing is learnt, and the next one may try."""
        if state := self.failing.get(key):
            state.probing = False

    def condition(self, key: Key) -> Condition:
        """Why a breaker is open."""
        state = self.failing.get(key)
        return state.condition if state else "server_error"

    def seconds_left(self, key: Key, spec: Breaker) -> float:
        """Until the next call is let through."""
        state = self.failing.get(key)
        return max(0.0, state.failed_at + spec.open_seconds - self._clock()) if state else 0.0

    def open(self) -> Counter[tuple[str, str]]:
        """(upstream, model) -> on how many replicas it gets no traffic now, or one call at a time."""
        self._forget()
        return Counter((key[0], key[2]) for key, state in self.failing.items() if state.opens(state.spec))

    def _forget(self) -> None:
        """What nobody has asked for long enough: it may be gone, and tells nothing of today."""
        now = self._clock()
        for key, state in list(self.failing.items()):
            if not state.probing and state.failed_at + max(FORGOTTEN_SECONDS, state.spec.open_seconds) < now:
                del self.failing[key]

    def __len__(self) -> int:
        """What has failed since it last answered."""
        return len(self.failing)
