"""Money set aside for fine-tuning jobs."""

import pytest

from gateway.budgets.holds import hold, release
from gateway.db.database import Database
from gateway.errors import BudgetBusy, BudgetExhausted
from tests.gateway.budgets.processes import (
    HASTY,
    KEY,
    PROJECT,
    Process,
    add_budget,
    add_key,
    leases,
    post,
    spent,
    windows,
)

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
async def key(database: Database) -> None:
    await add_key(database)


async def held(database: Database, amount: int, holder: str = "ftjob-1") -> None:
    async with database.session() as session:
        await hold(session, PROJECT, KEY, holder, amount)


class TestHold:
    async def test_calls_have_the_rest(self, database: Database) -> None:
        await add_budget(database, 100)
        await held(database, 70)
        process = Process(database, "one", HASTY)
        await process.poll()
        (await process.reserve(30)).settle(0)
        with pytest.raises(BudgetBusy):
            await process.reserve(31)

    async def test_what_the_work_costs_comes_out_of_it(self, database: Database) -> None:
        await add_budget(database, 100)
        await held(database, 70)
        await post(database, [spent(50, kind="training", holder="ftjob-1")])
        assert await leases(database) == {"": (0, 0), "ftjob-1": (70, 50)}

    async def test_more_adds_up(self, database: Database) -> None:
        await add_budget(database, 100)
        await held(database, 30)
        await held(database, 30)
        assert (await leases(database))["ftjob-1"] == (60, 0)
        with pytest.raises(BudgetBusy):
            await held(database, 50)

    async def test_more_than_is_left_is_refused_for_good_and_nothing_is_held(self, database: Database) -> None:
        await add_budget(database, 1_000, "a")
        await add_budget(database, 100, "b", scope="project")
        with pytest.raises(BudgetExhausted, match="project's"):
            await held(database, 101)
        assert await leases(database) == {}

    async def test_a_soft_budget_refuses_nothing_and_its_window_is_made(self, database: Database) -> None:
        await add_budget(database, 10, hard=False)
        await held(database, 100)
        await post(database, [spent(100, holder="ftjob-1")])
        assert list((await windows(database)).values()) == [100]


class TestRelease:
    async def test_the_rest_is_free_again(self, database: Database) -> None:
        await add_budget(database, 100)
        await held(database, 70)
        await post(database, [spent(50, kind="training", holder="ftjob-1")])
        for _ in range(2):
            async with database.session() as session:
                await release(session, "ftjob-1")
        assert await leases(database) == {"": (0, 50)}
        await held(database, 50, "ftjob-2")
