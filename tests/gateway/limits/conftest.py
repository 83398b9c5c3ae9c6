"""A Redis whose clock the tests turn, and processes that share it."""

import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from gateway.kit.background import Background
from gateway.limits.admission import Admission
from gateway.limits.bucket import Bucket
from gateway.limits.buckets import Buckets
from gateway.limits.counters import Counters, Need, Shortage
from gateway.limits.lane import Lane
from gateway.limits.limit import Kind, Limit

_numbers = itertools.count()


@dataclass
class Clock:
    """Microseconds; begins at the start of a minute and of a day."""

    now: int = 20_000 * 86_400_000_000

    def __call__(self) -> int:
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        self.now += round(seconds * 1e6)


def need_of(key: str, *takes: tuple[Bucket, int], again: bool = False, unpaid: bool = False) -> Need:
    """Of a call that needs so much of each; of requests and places it is always 1."""
    tokens = max((amount for bucket, amount in takes if bucket.limit.kind.is_tokens), default=0)
    need = Need(key, Buckets(bucket for bucket, _ in takes), tokens, again, unpaid)
    assert need.takes == list(takes)
    return need


@dataclass
class Process:
    """As a gateway process sees the limits of one project. No slices are leased ahead unless `lane` is used."""

    counters: Counters
    project: str
    background: Background = field(default_factory=Background)
    lane: Lane = field(init=False)

    def __post_init__(self) -> None:
        self.lane = Lane(self.project, self.counters, self.background)

    def bucket(self, kind: Kind, amount: int, *, key: str | None = "key", model: str | None = None) -> Bucket:
        return self.lane.bucket(Limit(kind, amount, self.project, key, model))

    async def take(self, *takes: tuple[Bucket, int], key: str = "key") -> Shortage | None:
        """One step of Redis for one call."""
        (answer,) = await self.counters.step(self.project, [bucket for bucket, _ in takes], [need_of(key, *takes)])
        return answer

    async def call(self, *takes: tuple[Bucket, int], key: str = "key") -> Admission | Shortage:
        """Through the lane, as calls go."""
        return await self.lane.take(need_of(key, *takes))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def start(redis_url: str, clock: Clock) -> AsyncIterator[Callable[[], Process]]:
    """Starts processes of one project that nobody has called yet."""
    project, running = f"proj_{next(_numbers)}", list[Process]()

    def make() -> Process:
        running.append(Process(Counters(redis_url, answer_seconds=20, clock=clock), project))
        return running[-1]

    yield make
    for each in running:
        await each.background.close()
        await each.counters.close()


@pytest.fixture
def process(start: Callable[[], Process]) -> Process:
    return start()
