"""Reserving and settling in one process and between several."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.budgets.leases import State
from gateway.budgets.waiting import Asked, Waiting
from gateway.db.database import Database
from gateway.errors import BudgetBusy, BudgetExhausted, Unavailable, to_openai_error
from gateway.kit.clock import now
from gateway.settings import BudgetSettings
from tests.gateway.budgets.processes import (
    HASTY,
    KEY,
    PROJECT,
    Process,
    add_budget,
    add_key,
    committed,
    leases,
    set_limit,
    windows,
)
from tests.polling import until

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("key")]


@pytest.fixture
async def process(database: Database) -> AsyncIterator[Process]:
    process = Process(database, "one")
    yield process
    await process.budgets.close()


@pytest.fixture
async def other(database: Database) -> AsyncIterator[Process]:
    process = Process(database, "two")
    yield process
    await process.budgets.close()


class TestCover:
    async def test_nothing_where_there_is_no_budget(self, database: Database, process: Process) -> None:
        await add_budget(database, 100)
        await process.poll()
        assert process.budgets.of(PROJECT, "another key") is None
        assert process.budgets.of(PROJECT, KEY) is not None

    async def test_nobody_passes_before_the_budgets_were_read(self, process: Process) -> None:
        with pytest.raises(Unavailable):
            process.budgets.of(PROJECT, KEY)

    async def test_key_project_and_organisation_in_this_order(self, database: Database, process: Process) -> None:
        await add_budget(database, 3, "a", scope="organization")
        await add_budget(database, 2, "b", scope="project")
        await add_budget(database, 1, "c")
        await add_budget(database, 1, "d", hard=False)
        await process.poll()
        assert [each.id for each in process.cover.hard] == ["c", "b", "a"]
        assert [each.id for each in process.cover.soft] == ["d"]


class TestReserve:
    async def test_a_lease_lasts_for_many_calls(self, database: Database, process: Process) -> None:
        await add_budget(database, 1_000_000)
        await process.poll()
        first = await process.reserve(100)
        assert await leases(database) == {"": (0, 0), "one": (20_000, 0)}, "a fiftieth of the limit"
        before = time.time()
        for _ in range(100):
            process.settle(await process.reserve(100), 50, at=before)
        first.settle(0)
        assert await leases(database) == {"": (0, 0), "one": (20_000, 0)}
        assert (process.account.spent, process.account.reserved) == (5_000, 0)

    async def test_it_is_refused_for_good_when_it_is_spent(self, database: Database, process: Process) -> None:
        await add_budget(database, 100, period="month")
        await process.poll()
        process.settle(await process.reserve(100), 95)
        with pytest.raises(BudgetExhausted) as refused:
            await process.reserve(10)
        status, body, headers = to_openai_error(refused.value)
        assert (status, headers) == (429, {"x-should-retry": "false"})
        assert b'"type":"insufficient_quota"' in body
        assert b'"code":"insufficient_quota"' in body
        assert b"Your key's budget of $0.0000001 a month has $0.000000005 left" in body
        assert b"It starts anew at " in body
        process.settle(await process.reserve(5), 5)
        with pytest.raises(BudgetExhausted, match="is used up"):
            await process.reserve(1)

    async def test_the_last_of_it_can_be_spent(self, database: Database, process: Process, other: Process) -> None:
        await add_budget(database, 1_000)
        for each in (process, other):
            await each.poll()
        async with process.polling(), other.polling():
            for number in range(100):
                each = process if number % 2 else other
                each.settle(await each.reserve(10), 10)
            for each in (process, other):
                await each.drain()
            for each in (process, other):
                with pytest.raises(BudgetExhausted):
                    await each.reserve(1)
        assert list((await windows(database)).values()) == [1_000]

    async def test_it_waits_for_calls_under_way_in_this_process(self, database: Database, process: Process) -> None:
        await add_budget(database, 100)
        await process.poll()
        under_way = await process.reserve(80)
        waits = asyncio.create_task(process.reserve(50))
        await until(lambda: process.account.turn.locked())
        process.settle(under_way, 20)
        process.settle(await waits, 50)
        assert process.account.spent == 70

    async def test_it_is_refused_for_now_when_nothing_came_free(self, database: Database) -> None:
        process = Process(database, "one", HASTY)
        await add_budget(database, 100)
        await process.poll()
        under_way = await process.reserve(80)
        with pytest.raises(BudgetBusy) as refused:
            await process.reserve(50)
        status, body, headers = to_openai_error(refused.value)
        assert (status, headers) == (429, {"retry-after": "1"})
        assert b'"code":"budget_reserved"' in body
        under_way.settle(0)
        (await process.reserve(50)).settle(0)

    async def test_calls_under_way_elsewhere_are_waited_for(
        self, database: Database, process: Process, other: Process
    ) -> None:
        await add_budget(database, 100)
        for each in (process, other):
            await each.poll()
        under_way = await process.reserve(80)
        waits = asyncio.create_task(other.reserve(50))
        await until(lambda: _wanted(process))
        process.settle(under_way, 20)
        other.settle(await waits, 50)
        assert await committed(database) <= 100

    async def test_what_another_process_does_not_need_is_given_back(
        self, database: Database, process: Process, other: Process
    ) -> None:
        await add_budget(database, 1_000)
        for each in (process, other):
            await each.poll()
        (await process.reserve(900)).settle(0)
        assert (await leases(database))["one"] == (900, 0)
        waits = asyncio.create_task(other.reserve(500))
        await until(lambda: _wanted(process))
        (await waits).settle(0)
        assert (await leases(database))["one"] == (0, 0)

    async def test_all_budgets_or_none(self, database: Database, process: Process) -> None:
        await add_budget(database, 1_000, "key")
        await add_budget(database, 100, "project", scope="project")
        await process.poll()
        with pytest.raises(BudgetExhausted, match="project's"):
            await process.reserve(200)
        assert {each.reserved for each in process.accounts.values()} == {0}
        reservation = await process.reserve(60)
        assert {each.reserved for each in process.accounts.values()} == {60}
        process.settle(reservation, 10)
        assert {(each.reserved, each.spent) for each in process.accounts.values()} == {(0, 10)}

    async def test_a_call_that_waits_holds_up_no_other_key(self, database: Database, process: Process) -> None:
        await add_key(database, key_id="key_2")
        await add_budget(database, 10, "narrow")
        await add_budget(database, 1_000, "wide", scope="organization")
        await process.poll()
        under_way = await process.reserve(10)
        waits = asyncio.create_task(process.reserve(10))
        await until(lambda: any(each.turn.locked() for each in process.accounts.values()))
        cover = process.budgets.of(PROJECT, "key_2")
        assert cover is not None
        (await process.budgets.reserve(cover, time.time(), Asked(500, 500, 500))).settle(0)
        under_way.settle(0)
        (await waits).settle(0)

    async def test_first_come_first_served(self, database: Database, process: Process) -> None:
        await add_budget(database, 100)
        await process.poll()
        under_way = [await process.reserve(10) for _ in range(10)]
        order: list[int] = []

        async def call(amount: int) -> None:
            reservation = await process.reserve(amount)
            order.append(amount)
            reservation.settle(0)

        calls = [asyncio.create_task(call(30))]
        await until(lambda: process.account.turn.locked())
        under_way.pop().settle(0)
        calls += [asyncio.create_task(call(amount)) for amount in (1, 2)]  # for which there is enough
        for each in under_way:
            each.settle(0)
            await asyncio.sleep(0)
        await asyncio.gather(*calls)
        assert order == [30, 1, 2]

    async def test_a_cancelled_call_leaves_nothing_reserved(self, database: Database, process: Process) -> None:
        await add_budget(database, 1_000, "key")
        await add_budget(database, 100, "project", scope="project")
        await process.poll()
        under_way = await process.reserve(100)
        waits = asyncio.create_task(process.reserve(50))
        await until(lambda: any(each.reserved == 150 for each in process.accounts.values()))
        waits.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waits
        assert {each.reserved for each in process.accounts.values()} == {100}
        under_way.settle(0)
        (await process.reserve(100)).settle(0)

    async def test_a_soft_budget_refuses_nothing_and_counts(self, database: Database, process: Process) -> None:
        await add_budget(database, 10, hard=False)
        await process.poll()
        process.settle(await process.reserve(1_000), 1_000)
        await process.budgets.tend()
        await process.drain()
        assert list((await windows(database)).values()) == [1_000]

    async def test_settled_twice_counts_once(
        self, database: Database, process: Process, caplog: pytest.LogCaptureFixture
    ) -> None:
        await add_budget(database, 100)
        await process.poll()
        reservation = await process.reserve(50)
        reservation.settle(10)
        reservation.settle(10)
        assert (process.account.spent, process.account.reserved) == (10, 0)
        assert "settled twice" in caplog.text

    async def test_more_than_was_reserved_is_counted_and_told(
        self, database: Database, process: Process, caplog: pytest.LogCaptureFixture
    ) -> None:
        await add_budget(database, 100)
        await process.poll()
        process.settle(await process.reserve(50), 120)
        assert "cost 120 nano-dollars, 50 were reserved of budget_1" in caplog.text
        with pytest.raises(BudgetExhausted):
            await process.reserve(1)
        await process.drain()
        assert list((await windows(database)).values()) == [120]


class TestOpenDemand:
    """A call that leaves the length of its answer open."""

    async def test_it_takes_all_that_it_could_need(self, database: Database, process: Process) -> None:
        await add_budget(database, 1_000)
        await process.poll()
        assert (await process.reserve(Asked(most=400, enough=100, least=10))).amount == 400

    async def test_it_takes_less_where_that_is_enough(self, database: Database, process: Process) -> None:
        await add_budget(database, 300)
        await process.poll()
        assert (await process.reserve(Asked(most=400, enough=100, least=10))).amount == 300

    async def test_it_waits_for_enough(
        self, database: Database, process: Process, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await add_budget(database, 300)
        await process.poll()
        under_way = await process.reserve(250)
        waiting, wait = asyncio.Event(), Waiting._wait

        async def noted(self: Waiting, changed: asyncio.Event) -> None:
            waiting.set()
            await wait(self, changed)

        monkeypatch.setattr(Waiting, "_wait", noted)
        waits = asyncio.create_task(process.reserve(Asked(most=400, enough=100, least=10)))
        await waiting.wait()  # while the database is asked, what comes free here is enough: 100
        under_way.settle(150)
        assert (await waits).amount == 150

    async def test_in_the_end_it_takes_what_there_is(self, database: Database) -> None:
        process = Process(database, "one", HASTY)
        await add_budget(database, 300)
        await process.poll()
        under_way = await process.reserve(250)
        assert (await process.reserve(Asked(most=400, enough=100, least=10))).amount == 50
        under_way.settle(0)

    async def test_it_waits_for_nobody_where_nobody_could_give_back(self, database: Database, process: Process) -> None:
        await add_budget(database, 300)
        await process.poll()
        process.settle(await process.reserve(250), 250)
        assert (await process.reserve(Asked(most=400, enough=100, least=10))).amount == 50

    async def test_too_little_for_any_answer_is_refused(self, database: Database, process: Process) -> None:
        await add_budget(database, 300)
        await process.poll()
        process.settle(await process.reserve(295), 295)
        with pytest.raises(BudgetExhausted):
            await process.reserve(Asked(most=400, enough=100, least=10))


class TestChanges:
    async def test_a_raised_limit_lets_calls_through(self, database: Database, process: Process) -> None:
        await add_budget(database, 100)
        await process.poll()
        process.settle(await process.reserve(100), 100)
        with pytest.raises(BudgetExhausted):
            await process.reserve(50)
        await set_limit(database, 200)
        await process.poll()
        (await process.reserve(50)).settle(0)

    async def test_a_lowered_limit_takes_back_what_was_leased(self, database: Database, process: Process) -> None:
        await add_budget(database, 10_000)
        await process.poll()
        process.settle(await process.reserve(100), 100)
        assert process.account.slack == 100
        await set_limit(database, 150)
        await process.poll()
        with pytest.raises(BudgetExhausted):
            await process.reserve(60)
        (await process.reserve(50)).settle(0)

    async def test_a_storm_on_a_spent_budget_asks_once(
        self, database: Database, process: Process, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await add_budget(database, 100)
        await process.poll()
        process.settle(await process.reserve(100), 100)
        asked: list[object] = []
        extend = process.budgets.leasing.extend

        async def counted(*wish: Any, **more: Any) -> State:
            asked.append(wish)
            return await extend(*wish, **more)

        monkeypatch.setattr(process.budgets.leasing, "extend", counted)
        refused = await asyncio.gather(*(process.reserve(1) for _ in range(200)), return_exceptions=True)
        assert {type(each) for each in refused} == {BudgetExhausted}
        assert len(asked) == 1

    async def test_a_new_window_begins_with_nothing_spent(self, database: Database, process: Process) -> None:
        await add_budget(database, 100, period="day")
        await process.poll()
        today, tomorrow = time.time(), time.time() + 86_400
        process.settle(await process.reserve(100, at=today), 100)
        with pytest.raises(BudgetExhausted):
            await process.reserve(1, at=today)
        process.settle(await process.reserve(100, at=tomorrow), 100, at=tomorrow)
        await process.drain()
        assert list((await windows(database)).values()) == [100, 100]

    async def test_a_total_does_not_count_what_came_in_before_it(self, database: Database, process: Process) -> None:
        before = time.time()
        await add_budget(database, 100, created_at=now())
        await process.poll()
        process.settle(await process.reserve(1_000, at=before), 1_000, at=before)
        process.settle(await process.reserve(100), 60)
        await process.drain()
        assert list((await windows(database)).values()) == [60]

    async def test_what_this_process_spent_without_a_reservation_is_adopted(
        self, database: Database, process: Process
    ) -> None:
        await add_budget(database, 1_000)
        await process.poll()
        (await process.reserve(10)).settle(0)  # makes the window
        process.spend(500)
        await process.drain()
        await process.budgets.leasing.give_back(process.account)
        with pytest.raises(BudgetExhausted):
            await process.reserve(600)
        assert process.account.spent == 500


class TestTend:
    async def test_what_nobody_used_lately_goes_back(self, database: Database) -> None:
        process = Process(database, "one", BudgetSettings(idle_seconds=0))
        await add_budget(database, 1_000_000)
        await process.poll()
        under_way = await process.reserve(100)
        await process.budgets.tend()
        assert (await leases(database))["one"] == (100, 0), "what is in use stays"
        process.settle(under_way, 40)
        await process.budgets.tend()
        assert (await leases(database))["one"] == (40, 0)
        await process.drain()
        assert (await leases(database))["one"] == (40, 40)

    async def test_a_lease_whose_commit_was_not_heard_of_goes_back(
        self, database: Database, process: Process, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await add_budget(database, 1_000_000)
        await process.poll()
        await process.reserve(20_000)
        raw = database.raw

        @asynccontextmanager
        async def breaks_behind() -> AsyncGenerator[Any]:
            async with raw() as connection:
                yield connection
            raise Unavailable("The connection broke.")

        with monkeypatch.context() as patched:
            patched.setattr(database, "raw", breaks_behind)
            with pytest.raises(Unavailable):
                await process.reserve(100)
        assert (await leases(database))["one"] == (40_000, 0), "the database has it"
        await process.budgets.tend()
        assert (await leases(database))["one"] == (20_000, 0)

    async def test_windows_that_are_long_over_are_forgotten(self, database: Database, process: Process) -> None:
        await add_budget(database, 100, period="day")
        await process.poll()
        long_ago = await process.reserve(10, at=time.time() - 3 * 86_400)
        await process.budgets.tend()
        assert len(process.accounts) == 1
        long_ago.settle(0)
        await process.budgets.tend()
        assert process.accounts == {}


class TestReleased:
    async def test_a_dead_process_keeps_what_it_spent_and_nothing_more(
        self, database: Database, process: Process
    ) -> None:
        other = Process(database, "two", HASTY)
        await add_budget(database, 1_000)
        for each in (process, other):
            await each.poll()
        process.settle(await process.reserve(600), 250)
        await process.reserve(100)
        with pytest.raises(BudgetBusy):
            await other.reserve(500)
        await process.drain()
        for _ in range(2):
            await other.budgets.released("one")
        assert await leases(database) == {"": (0, 250), "two": (0, 0)}
        other.settle(await other.reserve(750), 750)


async def _wanted(process: Process) -> bool:
    await process.poll()
    return any(each.wanted_until for each in process.accounts.values())
