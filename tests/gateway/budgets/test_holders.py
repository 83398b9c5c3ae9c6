"""Who holds leases, and the release of those that are dead."""

import platform
from datetime import timedelta

import pytest

from gateway.budgets import holders
from gateway.budgets.holds import hold
from gateway.db.database import Database
from gateway.db.tables import BudgetHolderRow
from gateway.errors import BudgetBusy, Conflict
from gateway.kit.clock import now
from tests.gateway.budgets.processes import (
    HASTY,
    KEY,
    PROJECT,
    add_budget,
    committed,
    leases,
    polled,
)
from tests.gateway.budgets.silence import add_witness, silence

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("key")]


async def row(database: Database, holder: str) -> BudgetHolderRow | None:
    async with database.session() as session:
        return (await holders.processes(session)).get(holder)


async def known(database: Database, holder: str) -> BudgetHolderRow:
    found = await row(database, holder)
    assert found is not None
    return found


async def release(database: Database, holder: str) -> None:
    async with database.session() as session:
        await holders.release(session, holder)


class TestRegister:
    async def test_with_its_first_lease_a_process_is_known(self, database: Database) -> None:
        await add_budget(database, 1000)
        one = await polled(database, "one", HASTY)
        assert await row(database, "one") is None
        await one.reserve(10)
        found = await known(database, "one")
        assert found.host == platform.node()
        assert found.created_at == found.since == found.seen_at

    async def test_also_where_it_got_nothing(self, database: Database) -> None:
        """What it spends afterwards all the same is charged to it."""
        await add_budget(database, 100)
        async with database.session() as session:
            await hold(session, PROJECT, KEY, "ftjob-1", 100)
        with pytest.raises(BudgetBusy):
            await (await polled(database, "one", HASTY)).reserve(10)
        assert await row(database, "one") is not None

    async def test_once_all_that_it_spent_is_in_the_ledger_it_is_not(self, database: Database) -> None:
        await add_budget(database, 1000)
        one = await polled(database, "one", HASTY)
        await one.reserve(10)
        await one.budgets.released("one")
        assert await row(database, "one") is None


class TestBeat:
    async def test_says_that_a_process_runs(self, database: Database) -> None:
        await add_budget(database, 1000)
        one = await polled(database, "one", HASTY)
        await one.reserve(10)
        await silence(database, "one", 59)
        before = await known(database, "one")
        await one.budgets.beat()
        after = await known(database, "one")
        assert (after.since, after.created_at) == (before.since, before.created_at)
        assert after.seen_at - before.seen_at > timedelta(seconds=58)

    async def test_after_a_silence_it_begins_anew(self, database: Database) -> None:
        await add_budget(database, 1000)
        one = await polled(database, "one", HASTY)
        await one.reserve(10)
        await silence(database, "one", 61)
        await one.budgets.beat()
        found = await known(database, "one")
        assert found.since == found.seen_at > found.created_at

    async def test_says_nothing_before_anything_was_leased(self, database: Database) -> None:
        one = await polled(database, "one", HASTY)
        await one.budgets.beat()
        assert await row(database, "one") is None


class TestRelease:
    async def test_what_a_dead_process_held_others_may_spend(self, database: Database) -> None:
        await add_budget(database, 100)
        dead = await polled(database, "dead", HASTY)
        reservation = await dead.reserve(90)
        dead.settle(reservation, 40)
        await dead.drain()
        await dead.reserve(50)
        two = await polled(database, "two", HASTY)
        with pytest.raises(BudgetBusy):
            await two.reserve(60)
        await silence(database, "dead")
        await add_witness(database)
        await release(database, "dead")
        assert await row(database, "dead") is None
        assert (await leases(database))[""] == (0, 40)
        await two.reserve(60)
        assert await committed(database) == 100

    async def test_one_that_spoke_lately_is_refused(self, database: Database) -> None:
        await add_budget(database, 1000)
        one = await polled(database, "one", HASTY)
        await one.reserve(10)
        await add_witness(database)
        before = await leases(database)
        for seconds in (0, 290):
            await silence(database, "one", seconds)
            with pytest.raises(Conflict, match="one runs: it said so"):
                await release(database, "one")
        assert await leases(database) == before

    async def test_where_nobody_could_have_spoken_nobody_is_dead(self, database: Database) -> None:
        """The database was away until a moment ago."""
        await add_budget(database, 1000)
        one = await polled(database, "one", HASTY)
        await one.reserve(10)
        await silence(database, "one")
        before = await leases(database)
        with pytest.raises(Conflict, match="No gateway has been in touch"):
            await release(database, "one")
        await add_witness(database, 280)
        with pytest.raises(Conflict, match=r"try again in (19|20) s"):
            await release(database, "one")
        await add_witness(database)
        await silence(database, "witness", 61)
        with pytest.raises(Conflict, match="No gateway has been in touch"):
            await release(database, "one")
        assert await leases(database) == before

    async def test_one_that_runs_all_the_same_hands_out_no_more_of_what_it_held(
        self, database: Database, caplog: pytest.LogCaptureFixture
    ) -> None:
        await add_budget(database, 10_000)
        one = await polled(database, "one", HASTY)
        reservation = await one.reserve(100)
        assert one.account.slack > 0
        await silence(database, "one")
        await add_witness(database)
        await release(database, "one")
        await one.budgets.beat()
        assert one.account.slack == 0
        assert "was released by an administrator, but runs" in caplog.text
        one.settle(reservation, 60)
        await one.reserve(100)
        assert await row(database, "one") is not None
        await one.drain()
        granted, spent = (await leases(database))["one"]
        assert (granted, spent) == (one.account.granted, 60)
        await one.budgets.beat()
        assert caplog.text.count("was released") == 1


class TestLeases:
    async def test_are_those_of_windows_that_are_on(self, database: Database) -> None:
        await add_budget(database, 1000, "a")
        await add_budget(database, 1000, "b", period="day", scope="project")
        await add_budget(database, 1000, "c", scope="organization")
        async with database.session() as session:
            await hold(session, PROJECT, KEY, "ftjob-1", 10)
            await hold(session, PROJECT, KEY, "ftjob-1", 20, now() - timedelta(days=1))
            await hold(session, PROJECT, KEY, "ftjob-2", 5)
        async with database.session() as session:
            found = await holders.leases(session)
            assert {id: [(each.budget_id, each.unspent) for each in held] for id, held in found.items()} == {
                "ftjob-1": [("a", 30), ("b", 10), ("c", 30)],
                "ftjob-2": [("a", 5), ("b", 5), ("c", 5)],
            }
            assert await holders.leases(session, "ftjob-2") == {"ftjob-2": found["ftjob-2"]}
