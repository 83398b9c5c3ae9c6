"""Rate limits of a gateway process: which hold for a call, whether it may go on, and what it has used.

The buckets are in Redis, shared by every process and host (counters.py, take.lua); each process leases small slices of
them ahead and decides in memory (lane.py). Which numbers hold for whom: book.py.
"""

from contextlib import suppress

import msgspec

from gateway.kit.background import Background
from gateway.limits.admission import Admission
from gateway.limits.book import LimitBook
from gateway.limits.buckets import Buckets
from gateway.limits.counters import Away, Counters, Need, Shortage
from gateway.limits.headers import refusal
from gateway.limits.lane import Lane

ROUND_SECONDS = 0.5
BEAT_ROUNDS = 2
PLACE_SECONDS = 0.025
"""A place that another process gives back in this moment is on its way so long."""
KNOWN_AT_ONCE = 50_000
"""Pairs of a key and a model whose buckets are looked up once."""


class Applicant(msgspec.Struct, frozen=True, gc=False):
    """Who calls what."""

    project_id: str
    api_key_id: str
    tier: str | None
    """Of the key."""
    model: str
    """Aliases resolved; of a route its name."""


class RateLimits:
    def __init__(self, book: LimitBook, counters: Counters, background: Background) -> None:
        self._book = book
        self._counters = counters
        self._background = background
        self._lanes: dict[str, Lane] = {}
        self._known: dict[Applicant, Buckets | None] = {}
        self._version = -1
        self._round = 0

    def buckets(self, applicant: Applicant) -> Buckets | None:
        """Of every limit that holds for the call; usually none."""
        book = self._book
        if book.is_empty:
            return None
        if self._version != book.version or len(self._known) > KNOWN_AT_ONCE:
            self._known, self._version = {}, book.version
        try:
            return self._known[applicant]
        except KeyError:
            self._known[applicant] = found = self._looked_up(applicant)
            return found

    def admit_at_once(self, applicant: Applicant, need: Need) -> Admission | None:
        """Take what the call needs of every bucket out of what this process has leased; None: `admit` says more.

        Args:
            need: of the applicant's `buckets`.
        """
        return self._lanes[applicant.project_id].take_at_once(need)

    async def admit(self, applicant: Applicant, need: Need) -> Admission:
        """The same, out of what all processes have left.

        Raises:
            RateLimited: one of the buckets is short; nothing was taken of any.
        """
        for bucket in need.buckets.tokens:
            if need.tokens > bucket.limit.amount:
                short = Shortage(bucket, need.tokens, 0.0, held_back=False, used=0)
                raise refusal(short, applicant.model, need.buckets)
        lane = self._lanes[applicant.project_id]
        outcome = await lane.take(need)
        if isinstance(outcome, Shortage) and not outcome.bucket.limit.kind.period and not self._counters.away:
            outcome = await lane.take_soon(need, PLACE_SECONDS)
        if isinstance(outcome, Shortage):
            raise refusal(outcome, applicant.model, need.buckets)
        return outcome

    async def tend(self) -> None:
        """Every ROUND_SECONDS: say that this process runs, give back what is idle, forget who has not called for long."""
        if self._book.is_empty and not self._lanes:
            return
        self._round += 1
        if self._round % BEAT_ROUNDS == 1:
            with suppress(Away):
                await self._counters.beat()
        if self._counters.away:
            return
        for lane in list(self._lanes.values()):
            lane.tend()
        if gone := [name for name, lane in self._lanes.items() if lane.is_forgotten]:
            for name in gone:
                del self._lanes[name]
            self._known = {}

    async def close(self) -> None:
        """Give back what was leased ahead."""
        with suppress(Away):
            for lane in self._lanes.values():
                if not self._counters.away:
                    await lane.close()
        await self._counters.close()

    def _looked_up(self, applicant: Applicant) -> Buckets | None:
        limits = self._book.limits(applicant.project_id, applicant.api_key_id, applicant.tier, applicant.model)
        lane = self._lanes.get(applicant.project_id) or Lane(applicant.project_id, self._counters, self._background)
        found = Buckets(lane.bucket(limit) for limit in limits)
        if not found.every:
            return None
        self._lanes[applicant.project_id] = lane
        return found
