"""Money set aside for fine-tuning jobs."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import select

from gateway.budgets.holds import hold, hold_at_least, hold_more, release, without_hold
from gateway.db.database import Database
from gateway.db.tables import BudgetLeaseRow
from gateway.errors import BudgetBusy, BudgetExhausted
from gateway.kit.clock import now
from tests.gateway.budgets.processes import (
    HASTY,
    KEY,
    PROJECT,
    add_budget,
    add_key,
    leases,
    polled,
    post,
    spent,
    windows,
)

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("key")]


async def held(database: Database, amount: int, holder: str = "ftjob-1") -> None:
    async with database.session() as session:
        await hold(session, PROJECT, KEY, holder, amount)


async def at_least(database: Database, amount: int) -> None:
    async with database.session() as session:
        await hold_at_least(session, PROJECT, KEY, "ftjob-1", amount, now())


async def unspent(database: Database) -> dict[str, int]:
    """What each budget holds for the job."""
    async with database.session() as session:
        rows = await session.scalars(select(BudgetLeaseRow).where(BudgetLeaseRow.holder == "ftjob-1"))
        return {row.budget_id: row.granted_nano - row.spent_nano for row in rows}


class TestHold:
    async def test_calls_have_the_rest(self, database: Database) -> None:
        await add_budget(database, 100)
        await held(database, 70)
        process = await polled(database, "one", HASTY)
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


class TestHoldAtLeast:
    async def test_adds_in_each_budget_what_is_missing_there(self, database: Database) -> None:
        await add_budget(database, 100, "a")
        await held(database, 60)
        await add_budget(database, 100, "b", scope="project")
        for _ in range(2):
            await at_least(database, 80)
        assert await unspent(database) == {"a": 80, "b": 80}
        await at_least(database, 50)
        assert await unspent(database) == {"a": 80, "b": 80}

    async def test_what_it_has_is_a_part_of_what_a_budget_must_pay(self, database: Database) -> None:
        await add_budget(database, 100)
        await held(database, 100)
        await at_least(database, 100)
        with pytest.raises(BudgetExhausted):
            await at_least(database, 101)

    async def test_what_others_hold_may_come_back(self, database: Database) -> None:
        await add_budget(database, 100)
        await held(database, 50)
        await held(database, 20, "ftjob-2")
        with pytest.raises(BudgetBusy):
            await at_least(database, 81)
        assert await leases(database) == {"": (0, 0), "ftjob-1": (50, 0), "ftjob-2": (20, 0)}


class TestHoldMore:
    async def test_where_there_is_some(self, database: Database) -> None:
        await add_budget(database, 100, "a")
        await held(database, 60)
        await add_budget(database, 100, "b", scope="project")
        async with database.session() as session:
            await hold_more(session, "ftjob-1", 30, now())
        assert await unspent(database) == {"a": 90}
        with pytest.raises(BudgetBusy):
            async with database.session() as session:
                await hold_more(session, "ftjob-1", 30, now())

    async def test_in_the_windows_of_that_moment_alone(self, database: Database) -> None:
        await add_budget(database, 100, period="day")
        async with database.session() as session:
            await hold(session, PROJECT, KEY, "ftjob-1", 60, now() - timedelta(days=1))
        async with database.session() as session:
            await hold_more(session, "ftjob-1", 30, now())
        assert await unspent(database) == {"budget_1": 60}


class TestWithoutHold:
    async def without(self, database: Database, moment: datetime) -> list[str]:
        async with database.session() as session:
            return [place.budget.id for place in await without_hold(session, PROJECT, KEY, "ftjob-1", moment)]

    async def test_is_every_hard_budget_that_covers_it_and_holds_nothing(self, database: Database) -> None:
        await add_budget(database, 100, "held")
        await held(database, 1)
        await add_key(database, "proj_2", "key_2")
        await add_budget(database, 100, "everybodys", scope="organization")
        await add_budget(database, 100, "projects", scope="project", period="day")
        await add_budget(database, 100, "keys", period="month")
        await add_budget(database, 100, "soft", period="month", hard=False)
        await add_budget(database, 100, "another_keys", project_id="proj_2", api_key_id="key_2")
        assert await self.without(database, now()) == ["everybodys", "keys", "projects"]

    async def test_of_windows_that_count_for_it(self, database: Database) -> None:
        """A total that was made later does not count what began before, and yesterday is over."""
        began = now() - timedelta(days=40)
        for period in ("total", "day", "week", "month"):
            await add_budget(database, 100, period, period=period, created_at=now())
        assert await self.without(database, began) == []
        assert await self.without(database, now()) == ["day", "month", "total", "week"]


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
