"""What one process knows of one limit, and what it has leased of it.

A bucket holds `limit.amount`, is full at the beginning and refills evenly over its period, as OpenAI's headers tell.
"""

import time
from dataclasses import dataclass, field
from enum import IntEnum

from gateway.limits.limit import Limit


class Rivalry(IntEnum):
    """Whether keys compete for the last places of a limit that they share (calls at a time), as Redis last told."""

    NONE = 0
    """There is enough, or one key alone calls."""
    KEPT = 1
    """One was refused lately: a place that comes free here is for the next call of the same key."""
    YIELDED = 2
    """One waits that has fewer than another: what comes free goes back at once, and Redis says to whom."""


@dataclass(slots=True)
class Alone:
    """A process' own part while Redis is away."""

    level: float
    at: float


@dataclass(slots=True, eq=False)
class Bucket:
    """Its numbers are units of the limit: requests, tokens, or calls at a time."""

    limit: Limit
    held: int = 0
    """Leased and not used."""
    consumed: int = 0
    """Used since Redis last heard of it."""
    outstanding: int = 0
    """What running calls hold until they end."""
    returned: int = 0
    """Of what calls held and did not use, what Redis does not know yet."""
    by_key: dict[str, int] = field(default_factory=dict[str, int])
    """Key -> used since Redis last heard of it; of a shared limit that refills."""
    places: dict[str, int] = field(default_factory=dict[str, int])
    """Key -> what its running calls hold; of a shared limit of calls at a time."""
    rivalry: Rivalry = Rivalry.NONE
    kept: dict[str, int] = field(default_factory=dict[str, int])
    """Key -> of `held`, what its own calls left."""
    used: int = 0
    """By all processes together when Redis last answered, leases included."""
    heard_at: float = -1.0
    """When that was (time.monotonic); below 0: never."""
    alone: Alone | None = None

    @property
    def slice(self) -> int:
        return self.limit.slice

    @property
    def is_idle(self) -> bool:
        return not (self.held or self.consumed or self.outstanding)

    def has(self, key_id: str, need: int) -> bool:
        """Whether what is held is enough for a call of that key."""
        return self.held >= need and (not self.rivalry or self.kept.get(key_id, 0) >= need)

    def take(self, key_id: str, need: int, *, unpaid: bool = False, leased: bool = True) -> None:
        """A call of this process has `need`; one that is not paid for yet holds it until it is, or is undone.

        Args:
            leased: out of what is held; the caller has looked whether it `has` enough.
        """
        limit = self.limit
        if leased:
            self.held -= need
            if self.kept and key_id in self.kept:
                self.kept[key_id] = max(0, self.kept[key_id] - need)
        if unpaid or limit.kind.is_held:
            self.outstanding += need
        else:
            self.consumed += need
        if limit.is_shared:
            if limit.kind.period:
                self.by_key[key_id] = self.by_key.get(key_id, 0) + need
            else:
                self._place(key_id, need)

    def granted(self, key_id: str, need: int, *, unpaid: bool) -> None:
        """Like `take`, where Redis knows already."""
        if self.limit.kind.is_held or unpaid:
            self.outstanding += need
        self._place(key_id, need)

    def paid(self) -> None:
        """A request that was not paid for is; only of what a call does not hold until it ends anyway."""
        self.outstanding -= 1
        self.consumed += 1

    def hear(self, used: int, held: int, rivalry: int) -> None:
        """What Redis says."""
        self.used, self.held, self.heard_at, self.alone = used, held, time.monotonic(), None
        self.rivalry, self.kept = Rivalry(rivalry), {}

    def let_go(self) -> None:
        """Hold nothing ahead, and have nothing more to say of what came back."""
        self.held = self.returned = 0
        self.kept = {}

    def settle(self, key_id: str, need: int, tokens: int) -> None:
        """The call has ended and used `tokens`; what it did not use is there again, and more than it took counts too."""
        limit = self.limit
        if not limit.kind.is_held:
            return
        self.outstanding -= need
        if limit.kind.period:
            self.consumed += tokens
            self.returned += need - tokens
            if limit.is_shared:
                self.by_key[key_id] = self.by_key.get(key_id, 0) + tokens - need
        else:
            self._place(key_id, -need)
            self._keep(key_id, need)
        if self.alone is not None:
            self.alone.level += need - tokens

    def undo(self, key_id: str, need: int, *, unpaid: bool = False) -> None:
        """The call never began."""
        if self.limit.kind.is_held:
            self.settle(key_id, need, 0)
            return
        if unpaid:
            self.outstanding -= need
        else:
            self.consumed -= need
        if self.limit.is_shared:
            self.by_key[key_id] = self.by_key.get(key_id, 0) - need
        if self.alone is not None:
            self.alone.level += need

    def remaining(self, now: float | None = None) -> int:
        """What a next call of this process finds, as far as it knows; never below 0."""
        now = time.monotonic() if now is None else now
        left = int(self.alone.level) if self.alone is not None else self.limit.amount - self._used_now(now) + self.held
        return left if left > 0 else 0

    def seconds_for(self, missing: int) -> float:
        """Until so much has refilled, if nobody calls; 0 for what does not refill."""
        return missing * self.limit.kind.period / (self.limit.amount * 1e6)

    def wait_alone(self, need: int, processes: int, now: float) -> float | None:
        """Without Redis: None if this process' part has `need`, else the seconds until it may."""
        capacity = max(1, self.limit.amount // processes)
        if not self.limit.kind.period:
            return None if self.outstanding + need <= capacity else 0.0
        rate = self.limit.per_second / processes
        if self.alone is None:  # it begins with its part of what was left when Redis was last heard of
            level = self.held + (self.limit.amount - self._used_now(now)) / processes
            self.alone = Alone(max(0.0, level), now)
        self.alone.level = min(capacity, self.alone.level + (now - self.alone.at) * rate)
        self.alone.at = now
        missing = min(need, capacity) - self.alone.level  # what is more than there can ever be may empty it
        return missing / rate if missing > 0 else None

    def take_alone(self, key_id: str, need: int, *, unpaid: bool = False) -> None:
        """After `wait_alone` said that there is enough. Redis hears of it when it is back."""
        self.take(key_id, need, unpaid=unpaid, leased=False)
        if self.alone is not None:
            self.alone.level -= need

    def _used_now(self, now: float) -> int:
        """By all processes, this one's leases included, and what it used without Redis."""
        used, here = self.used, self.held + self.outstanding
        if self.heard_at >= 0:
            used -= int((now - self.heard_at) * self.limit.per_second)
        return used if used > here else here

    def _keep(self, key_id: str, need: int) -> None:
        """For the next call's place, where it need not go back at once."""
        if self.held < self.slice and self.rivalry is not Rivalry.YIELDED:
            self.held += need
            if self.limit.is_shared:
                self.kept[key_id] = self.kept.get(key_id, 0) + need

    def _place(self, key_id: str, change: int) -> None:
        if not self.limit.is_shared or self.limit.kind.period:
            return
        if held := self.places.get(key_id, 0) + change:
            self.places[key_id] = held
        else:
            del self.places[key_id]
