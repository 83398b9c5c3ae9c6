"""Rate limits of a gateway process: which hold for a call, whether it may go on, and what it has used.

The buckets are in Redis, shared by every process and host (counters.py, take.lua); each process leases small slices of
them ahead and decides in memory (lane.py). Which numbers hold for whom: book.py.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from gateway.kit.background import Background
from gateway.limits.admission import Admission
from gateway.limits.book import LimitBook
from gateway.limits.bucket import Bucket
from gateway.limits.counters import Away, Counters, Need, Shortage
from gateway.limits.headers import refusal
from gateway.limits.lane import Lane

ROUND_SECONDS = 0.5
BEAT_ROUNDS = 2
PLACE_SECONDS = 0.025
"""A place that another process gives back in this moment is on its way so long."""
KNOWN_AT_ONCE = 50_000
"""Pairs of a key and a model whose buckets are looked up once."""


class Applicant(NamedTuple):
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
        self._known: dict[Applicant, tuple[Bucket, ...]] = {}
        self._version = -1
        self._round = 0

    def buckets(self, applicant: Applicant) -> tuple[Bucket, ...]:
        """Of every limit that holds for the call; usually none."""
        if self._book.is_empty:
            return ()
        if self._version != self._book.version or len(self._known) > KNOWN_AT_ONCE:
            self._known, self._version = {}, self._book.version
        found = self._known.get(applicant)
        if found is None:
            found = self._known[applicant] = self._looked_up(applicant)
        return found

    async def admit(
        self, applicant: Applicant, buckets: Sequence[Bucket], tokens: Callable[[], int], *, unpaid: bool = False
    ) -> Admission:
        """Take what the call needs of every bucket.

        Args:
            buckets: those of `applicant`, one at least.
            tokens: guesses what it will use, its own limit of output included; at least 1. Asked only where tokens
                are limited.
            unpaid: a budget may still refuse it; the admission is told once it is `paid`.

        Raises:
            RateLimited: one of them is short; nothing was taken of any.
        """
        count = 0
        takes: list[tuple[Bucket, int]] = []
        for bucket in buckets:
            need, limit = 1, bucket.limit
            if limit.kind.is_tokens:
                need = count = count or tokens()
            takes.append((bucket, need))
            if need > limit.amount:
                short = Shortage(bucket, need, 0.0, held_back=False, used=0)
                raise refusal(short, applicant.model, buckets)
        lane = self._lanes[applicant.project_id]
        if (admission := lane.take_at_once(applicant.api_key_id, takes, unpaid=unpaid)) is not None:
            return admission
        wanted = Need(applicant.api_key_id, takes, unpaid=unpaid)
        outcome = await lane.take(wanted)
        if isinstance(outcome, Shortage) and not outcome.bucket.limit.kind.period and not self._counters.away:
            outcome = await lane.take_soon(wanted, PLACE_SECONDS)
        if isinstance(outcome, Shortage):
            raise refusal(outcome, applicant.model, buckets)
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

    def _looked_up(self, applicant: Applicant) -> tuple[Bucket, ...]:
        limits = self._book.limits(applicant.project_id, applicant.api_key_id, applicant.tier, applicant.model)
        lane = self._lanes.get(applicant.project_id) or Lane(applicant.project_id, self._counters, self._background)
        found = tuple(lane.bucket(limit) for limit in limits)
        if found:
            self._lanes[applicant.project_id] = lane
        return found
