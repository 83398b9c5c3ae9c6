"""The calls of one project, and its limits in this process.

A call that finds enough of everything in what this process has leased goes on at once. Others wait for one round trip,
together. While one is under way, nothing is leased, so who comes next waits for its end; who then finds too little in what
it brought waits for the one after it.
"""

import asyncio
import time
from dataclasses import dataclass, field

from msgspec.structs import replace

from gateway.errors import Unavailable
from gateway.kit.background import Background
from gateway.limits.admission import Admission
from gateway.limits.bucket import Bucket
from gateway.limits.counters import LEASE_SECONDS, Away, Counters, Need, Shortage
from gateway.limits.limit import Limit

CALLS_A_STEP = 100
SOON_SECONDS = 0.05
"""Tokens that calls reserved and did not use are given back together; and so long one refusal stands for the next."""
IDLE_SECONDS = 1.0
"""What was leased ahead and is not used for that long is given back."""
RENEW_SECONDS = LEASE_SECONDS / 3
FORGET_SECONDS = 600.0

Outcome = Admission | Shortage


@dataclass(slots=True, eq=False)
class _Waiting:
    need: Need
    outcome: "asyncio.Future[Outcome]"

    def tell(self, outcome: Outcome) -> None:
        if not self.outcome.done():
            self.outcome.set_result(outcome)
        elif isinstance(outcome, Admission):
            outcome.undo()  # its call was given up while Redis was asked

    def fail(self) -> None:
        if not self.outcome.done():
            self.outcome.set_exception(Unavailable("This gateway stops; please retry."))


@dataclass(slots=True)
class _Dry:
    """A refusal of a moment ago."""

    shortage: Shortage
    until: float


@dataclass(slots=True, eq=False)
class Lane:
    project_id: str
    counters: Counters
    background: Background
    buckets: dict[str, Bucket] = field(default_factory=dict[str, Bucket])
    _waiting: list[_Waiting] = field(default_factory=list[_Waiting])
    _due: set[Bucket] = field(default_factory=set[Bucket])
    """Have something to tell or to give back."""
    _dry: dict[tuple[str, str], _Dry] = field(default_factory=dict[tuple[str, str], _Dry])
    """(key, name of a limit) -> what would be answered again."""
    _pump: "asyncio.Task[None] | None" = None
    _again: bool = False
    """What is due does not wait for the next call that has to ask."""
    _soon: asyncio.TimerHandle | None = None
    _heard: float = field(default_factory=time.monotonic)
    _taken: float = field(default_factory=time.monotonic)

    def bucket(self, limit: Limit) -> Bucket:
        """Of that limit; it keeps what is known when the amount changes."""
        bucket = self.buckets.setdefault(limit.name, Bucket(limit))
        bucket.limit = limit
        return bucket

    def take_at_once(self, need: Need) -> Admission | None:
        """All that the call needs, out of what this process has leased; None where that does not suffice, or where it has
        to be refused."""
        self._taken = now = time.monotonic()
        if self._waiting or now - self._heard >= LEASE_SECONDS / 2 or self.counters.away:
            return None
        if self._dry and self._refused_lately(need, now) is not None:
            return None
        key_id, buckets, tokens, unpaid = need.api_key_id, need.buckets, need.tokens, need.unpaid
        for bucket in buckets.requests:
            if bucket.held < 1 or (bucket.rivalry and not bucket.has(key_id, 1)):
                return None
        for bucket in buckets.tokens:
            if bucket.held < tokens or bucket.limit.amount < tokens:
                return None
        for bucket in buckets.requests:
            bucket.take(key_id, 1, unpaid=unpaid)
        for bucket in buckets.tokens:
            bucket.take(key_id, tokens, unpaid=unpaid)
        return Admission(need, self._ended)

    async def take(self, need: Need) -> Outcome:
        """All that the call needs, or what it is short of."""
        self._taken = now = time.monotonic()
        if self.counters.away:
            return self._alone(need, now)
        if (dry := self._refused_lately(need, now)) is not None:
            return dry
        return self.take_at_once(need) or await self._wait(need)

    async def take_soon(self, need: Need, seconds: float) -> Outcome:
        """Once more, a moment later."""
        await asyncio.sleep(seconds)
        return await self.take(replace(need, again=True))

    def tend(self) -> None:
        """Called now and then: give back what is idle, renew what is in use."""
        now = time.monotonic()
        idle, stale = now - self._taken > IDLE_SECONDS, now - self._heard > RENEW_SECONDS
        for bucket in self.buckets.values():
            if (idle and bucket.held) or (stale and not bucket.is_idle):
                self._due.add(bucket)
        for name in [name for name, dry in self._dry.items() if dry.until <= now]:
            del self._dry[name]
        self._tell()

    async def close(self) -> None:
        """Give back everything that no call holds. Raises Away."""
        if self._soon is not None:
            self._soon.cancel()
        if due := [bucket for bucket in self.buckets.values() if not bucket.is_idle or bucket.by_key]:
            await self.counters.step(self.project_id, due, [])

    @property
    def is_forgotten(self) -> bool:
        """Nobody has called for long, and nothing is held."""
        idle = all(bucket.is_idle for bucket in self.buckets.values())
        return idle and not self._waiting and time.monotonic() - self._taken > FORGET_SECONDS

    def _refused_lately(self, need: Need, now: float) -> Shortage | None:
        for bucket, n in need.takes:
            dry = self._dry.get((need.api_key_id, bucket.limit.name))
            if dry is not None and now < dry.until and n >= dry.shortage.need:
                return dry.shortage
        return None

    async def _wait(self, need: Need) -> Outcome:
        waiting = _Waiting(need, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._start()
        try:
            return await waiting.outcome
        except asyncio.CancelledError:
            outcome = waiting.outcome
            if outcome.done() and not outcome.cancelled() and isinstance(got := outcome.result(), Admission):
                got.undo()  # it came in the same moment
            raise

    def _start(self) -> None:
        if (self._waiting or self._due) and self._pump is None:
            self._pump = self.background.spawn(self._steps(), "lease rate limits")

    def _tell(self) -> None:
        """What is due, with a step of its own if need be."""
        self._again = True
        self._start()

    async def _steps(self) -> None:
        batch: list[_Waiting] = []
        try:
            while self._waiting or (self._again and self._due and not self.counters.away):
                self._again = False
                batch, self._waiting = self._waiting[:CALLS_A_STEP], self._waiting[CALLS_A_STEP:]
                await self._step(batch)
                batch = []
                self._let_in()
        finally:
            self._pump = None
            for left in [*batch, *self._waiting]:  # the process stops
                left.fail()
            self._waiting = []

    async def _step(self, batch: list[_Waiting]) -> None:
        wanted = [each for each in batch if not each.outcome.done()]  # some may have left while they waited
        needs = [each.need for each in wanted]
        buckets = dict.fromkeys(bucket for need in needs for bucket in need.buckets.every) | dict.fromkeys(self._due)
        self._due = set()
        try:
            busy = time.monotonic() - self._taken <= IDLE_SECONDS
            answers = await self.counters.step(self.project_id, list(buckets), needs, keep=busy)
            self._heard = time.monotonic()
            outcomes = list(map(self._outcome, needs, answers))
        except Away:
            now = time.monotonic()
            outcomes = [self._alone(need, now) for need in needs]
        for each, outcome in zip(wanted, outcomes, strict=True):
            each.tell(outcome)

    def _let_in(self) -> None:
        """Who came while Redis was asked and finds enough in what was leased, up to the first who does not: or else each
        step would make calls wait for the next one, without an end."""
        came, self._waiting = self._waiting, []
        for each in came:
            if each.outcome.done():
                continue  # it has left meanwhile
            if (admission := self.take_at_once(each.need)) is not None:
                each.tell(admission)
            else:
                self._waiting.append(each)

    def _outcome(self, need: Need, short: Shortage | None) -> Outcome:
        if short is None:
            return Admission(need, self._ended)
        if short.wait:
            until = self._heard + min(short.wait, SOON_SECONDS)
            self._dry[need.api_key_id, short.bucket.limit.name] = _Dry(short, until)
        return short

    def _alone(self, need: Need, now: float) -> Outcome:
        """Without Redis: out of this process' part of each limit."""
        processes = self.counters.processes
        for bucket, n in need.takes:
            wait = bucket.wait_alone(n, processes, now)
            if wait is not None:
                used = bucket.limit.amount - bucket.remaining(now)
                return Shortage(bucket, n, wait, held_back=False, used=used)
        for bucket, n in need.takes:
            bucket.take_alone(need.api_key_id, n, unpaid=need.unpaid)
        return Admission(need, self._ended)

    def _ended(self, need: Need) -> None:
        """Places go back at once where none are leased ahead; tokens a moment later, for many calls together, and those
        that are few with the next round trip."""
        if self.counters.away:
            return
        self._due.update(need.buckets.held)
        for bucket in need.buckets.places:
            if not bucket.held:
                self._tell()
                return
        for bucket in need.buckets.tokens:
            if bucket.returned > bucket.limit.slice:
                self._tell_soon()
                return

    def _tell_soon(self) -> None:
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(SOON_SECONDS, self._give_back)

    def _give_back(self) -> None:
        self._soon = None
        self._tell()
