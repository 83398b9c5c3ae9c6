"""Random interleavings of calls in several processes, against real leases: never overspent, and in the end all is free.

Processes reserve, settle, drain, poll, give back, die and are adopted in any order, a few calls at a time. After each step:

1. what holders have leased and spent together is never more than the limit;
2. as long as no call costs more than its bound, the ledger never has more than the limit.

In the end everything is settled and drained, and exactly what was not spent can be leased again.
"""

import asyncio
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.budgets.reservation import Reservation
from gateway.budgets.waiting import Asked
from gateway.db.database import Database
from gateway.errors import BudgetBusy, BudgetExhausted
from gateway.settings import BudgetSettings
from tests.conftest import own_database
from tests.gateway.budgets.processes import Process, add_budget, add_key, committed, windows

EAGER = BudgetSettings(wait_seconds=0.0, idle_seconds=0.0)
LIMITS = {"key": 1_000, "project": 1_500, "all": 900}
SCOPES = {"key": "api_key", "project": "project", "all": "organization"}


@dataclass
class World:
    """Processes, the calls that each has under way, and a count of what must come out."""

    database: Database
    chance: random.Random
    limits: dict[str, int]
    processes: list[Process] = field(default_factory=list)
    under_way: list[tuple[Process, Reservation]] = field(default_factory=list)
    spent: int = 0
    reserved: int = 0
    settled: int = 0
    _born: int = 0

    async def begin(self) -> None:
        await add_key(self.database)
        for id, limit in self.limits.items():
            await add_budget(self.database, limit, id, scope=SCOPES[id])
        for _ in range(3):
            await self.bear()

    async def bear(self) -> None:
        self._born += 1
        process = Process(self.database, f"p{self._born}", EAGER)
        await process.poll()
        self.processes.append(process)

    async def step(self, what: str) -> None:
        process = self.chance.choice(self.processes)
        await getattr(self, what)(process)
        await self.check()

    async def call(self, process: Process) -> None:
        most = self.chance.randint(0, 300)
        open = self.chance.random() < 0.3
        asked = Asked(most, most // 2, most // 10) if open else Asked(most, most, most)
        try:
            reservation = await process.reserve(asked)
        except (BudgetBusy, BudgetExhausted):
            return
        assert asked.least <= reservation.amount <= asked.most
        self.under_way.append((process, reservation))
        self.reserved += 1

    async def calls(self, process: Process) -> None:
        """Several in the same moment, in several processes."""
        await asyncio.gather(*(self.call(self.chance.choice(self.processes)) for _ in range(4)))

    async def settle(self, process: Process) -> None:
        mine = [each for each in self.under_way if each[0] is process]
        if not mine:
            return
        chosen = self.chance.choice(mine)
        self.under_way.remove(chosen)
        cost = self.chance.choice((0, chosen[1].amount, self.chance.randint(0, chosen[1].amount)))
        process.settle(chosen[1], cost)
        self.spent += cost
        self.settled += 1

    async def drain(self, process: Process) -> None:
        await process.drain()

    async def poll(self, process: Process) -> None:
        await process.poll()

    async def tend(self, process: Process) -> None:
        await process.budgets.tend()

    async def die(self, process: Process) -> None:
        """Killed; another one drains its spool and then releases what it held."""
        self.processes.remove(process)
        self.under_way = [each for each in self.under_way if each[0] is not process]
        await process.budgets.close()
        await process.drain()
        await process.budgets.released(process.holder)
        await self.bear()

    async def check(self) -> None:
        if len(self.limits) == 1:
            assert await committed(self.database) <= min(self.limits.values())
        for (id, _), nano in (await windows(self.database)).items():
            assert nano <= self.limits[id]

    async def end(self) -> None:
        while self.under_way:
            await self.settle(self.under_way[0][0])
        for process in self.processes:
            await process.drain()
        for process in self.processes:
            await process.poll()
            await process.budgets.tend()
            await process.budgets.close()
        assert set((await windows(self.database)).values()) <= {self.spent}
        assert {each.reserved for one in self.processes for each in one.accounts.values()} <= {0}
        rest = min(self.limits.values()) - self.spent
        assert rest >= 0
        last = self.processes[-1]
        with pytest.raises(BudgetExhausted):
            await last.reserve(rest + 1)
        last.settle(await last.reserve(rest), rest)
        await last.drain()
        await self.check()


STEPS = ("call", "call", "calls", "calls", "settle", "settle", "settle", "drain", "poll", "tend", "die")


@pytest.mark.parametrize("scopes", [("key",), ("key", "project", "all")])
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), steps=st.lists(st.sampled_from(STEPS), min_size=5, max_size=40))
def test_never_overspent_and_all_free_in_the_end(
    template_url: str, scopes: tuple[str, ...], seed: int, steps: list[str]
) -> None:
    async def play(url: str) -> None:
        database = Database(url, pool_size=4, timeout=10)
        world = World(database, random.Random(seed), {each: LIMITS[each] for each in scopes})
        try:
            await world.begin()
            for each in steps:
                await world.step(each)
            await world.end()
        finally:
            for process in world.processes:
                await process.budgets.close()
            await database.close()

    with own_database(template_url) as url:
        asyncio.run(play(url))
