"""`kill -9` at random moments under load, again and again in one running stack: what a client saw complete is in the log, once,
and the money adds up to the nano-dollar wherever it is counted.

FAULTS_KILLS=200 runs longer, FAULTS_SEED=7 another course of it.
"""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Iterator

import psutil
import pytest

from tests.fakes.upstream import Upstream
from tests.faults.books import Books, stopped
from tests.faults.gateways import draining, make_keys, own_gateway, serving
from tests.faults.parts import is_gone
from tests.faults.witnesses import Witnesses
from tests.gateway.conftest import RunningGateway
from tests.polling import until

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

KILLS = int(os.environ.get("FAULTS_KILLS", "20"))
SEED = int(os.environ.get("FAULTS_SEED", "20261122"))
MOST_CALLS = 60
"""That clients see end between two kills."""
SECONDS = 60.0


@pytest.fixture
def gateway(template_url: str, redis_url: str, running_fake: Upstream) -> Iterator[RunningGateway]:
    with own_gateway(template_url, redis_url, running_fake.url, exchanges__drain_seconds="0.05") as gateway:
        yield gateway


class Killer:
    """Ends a part at a time, and returns once its successor answers."""

    def __init__(self, gateway: RunningGateway) -> None:
        self._gateway = gateway
        self.killed: Counter[str] = Counter()

    async def kill(self, victim: str) -> None:
        self.killed[victim] += 1
        await {"worker": self._worker, "gateway": self._everything, "drain": self._drain}[victim]()

    async def _worker(self) -> None:
        """Its parent puts another in its place, however soon it dies again."""
        process = serving(self._gateway)
        assert process is not None
        process.send_signal(signal.SIGKILL)
        await until(lambda: serving(self._gateway) not in (None, process), SECONDS)

    async def _everything(self) -> None:
        """All its processes at once, as when the machine takes them."""
        await asyncio.to_thread(self._gateway.kill)
        await asyncio.to_thread(self._gateway.start)

    async def _drain(self) -> None:
        """What brings the log to the database; calls go on meanwhile."""
        if (process := draining(self._gateway)) is not None:
            with_children = [process, *process.children(recursive=True)]
            process.send_signal(signal.SIGKILL)
            await until(lambda: all(map(is_gone, with_children)), SECONDS)


async def test_nothing_that_was_seen_is_lost_or_counted_twice(gateway: RunningGateway) -> None:
    keys, books, killer, chance = await make_keys(gateway), Books(gateway), Killer(gateway), random.Random(SEED)
    async with Witnesses(gateway, keys, seed=SEED) as clients:
        for _ in range(KILLS):
            await clients.more(chance.randint(1, MOST_CALLS))
            await killer.kill(chance.choice(["worker", "worker", "gateway", "drain"]))
        await clients.more(MOST_CALLS)
    assert clients.refused == {}, "who is answered at all is answered well"
    assert clients.broken, "nobody noticed that anything was killed"
    assert 0 < clients.streams < len(clients.seen)
    await books.until_logged(clients.seen)
    await books.reports_agree()
    everyone = psutil.Process(gateway.pid).children(recursive=True)
    await stopped(gateway)
    await until(lambda: all(map(is_gone, everyone)), SECONDS)
    assert await books.agree_on(clients.seen) >= len(clients.seen)
