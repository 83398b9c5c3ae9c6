"""What the ledger gets is charged to windows and leases, once, and thresholds are told."""

import asyncio

import pytest

from gateway.budgets.opening import open_window
from gateway.budgets.windows import window_of
from gateway.db.database import Database
from gateway.db.driver import driver_of
from gateway.kit.clock import from_unix
from tests.gateway.budgets.processes import (
    add_budget,
    add_key,
    events,
    leases,
    polled,
    post,
    set_limit,
    spent,
    windows,
)
from tests.gateway.metering.ledger_rows import DAY, HOUR, MIDNIGHT

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("key")]

SINCE = from_unix(1_700_000_000)
OLD = from_unix(MIDNIGHT - 30 * DAY)


async def opened(database: Database, id: str, period: str, at: float = MIDNIGHT, since: object = SINCE) -> None:
    window = window_of(period, since, from_unix(at))  # type: ignore[arg-type]
    assert window is not None
    async with database.session() as session:
        await open_window(await driver_of(session), id, window)


async def sums(database: Database) -> dict[str, int]:
    return {id: nano for (id, _), nano in (await windows(database)).items()}


class TestCharge:
    async def test_every_budget_that_covers_a_row(self, database: Database) -> None:
        await add_key(database, "proj_2", "key_2")
        await add_key(database, "proj_1", "key_3")
        scopes = {"key": "api_key", "project": "project", "all": "organization"}
        for id, scope in scopes.items():
            await add_budget(database, 1_000, id, scope=scope, period="day")
            await opened(database, id, "day")
        soft = {"scope": "project", "project_id": "proj_2", "period": "month", "hard": False}
        await add_budget(database, 1_000, "soft", **soft)
        await opened(database, "soft", "month")
        rows = [("proj_1", "key_1", 1), ("proj_1", "key_3", 10), ("proj_2", "key_2", 100)]
        await post(
            database,
            [spent(cost, project_id=project, api_key_id=key, created_at=MIDNIGHT) for project, key, cost in rows],
        )
        assert await sums(database) == {"key": 1, "project": 11, "all": 111, "soft": 100}

    async def test_a_total_that_begins_within_a_batch(self, database: Database) -> None:
        """Calls of one key in one hour, on both sides of it."""
        for number, since in enumerate((MIDNIGHT + 10, MIDNIGHT + 20.5)):
            await add_budget(database, 10_000, f"total_{number}", period="total", created_at=from_unix(since))
            await opened(database, f"total_{number}", "total", at=since, since=from_unix(since))
        await add_budget(database, 10_000, "day", period="day", created_at=SINCE)
        await opened(database, "day", "day")
        moments = {1: 9.999999, 10: 10, 100: 15, 1000: 20.499999, 2000: 20.5}
        await post(database, [spent(cost, created_at=MIDNIGHT + at) for cost, at in moments.items()])
        assert await sums(database) == {"total_0": 3110, "total_1": 2000, "day": 3111}

    async def test_the_windows_of_the_moment_of_the_call(self, database: Database) -> None:
        await add_budget(database, 1_000, period="day")
        for moment in (MIDNIGHT - 1, MIDNIGHT):
            await opened(database, "budget_1", "day", moment)
        await post(
            database,
            [spent(1, created_at=MIDNIGHT - 0.001), spent(10, created_at=MIDNIGHT), spent(0, created_at=MIDNIGHT)],
        )
        assert list((await windows(database)).values()) == [1, 10]

    async def test_only_windows_that_were_made_and_only_once(self, database: Database) -> None:
        await add_budget(database, 1_000, period="day")
        row = spent(7, created_at=MIDNIGHT)
        await post(database, [row])
        assert await windows(database) == {}
        await opened(database, "budget_1", "day")
        await post(database, [row])
        assert await sums(database) == {"budget_1": 7}

    async def test_the_leases_of_the_holders(self, database: Database) -> None:
        await add_budget(database, 1_000)
        process = await polled(database, "one")
        process.settle(await process.reserve(100), 60)
        await process.drain()
        await post(database, [spent(5, holder="two"), spent(6, holder="two")])
        assert await leases(database) == {"": (0, 0), "one": (100, 60), "two": (0, 11)}

    async def test_drains_of_many_processes_at_once(self, database: Database) -> None:
        for id in ("b", "a", "c"):
            await add_budget(database, 1_000, id, scope="organization")
            await opened(database, id, "total")
        await asyncio.gather(*(post(database, [spent(1, holder=str(n % 4))]) for n in range(40)))
        assert await sums(database) == {"a": 40, "b": 40, "c": 40}

    async def test_a_deleted_budget_is_left_alone(self, database: Database) -> None:
        await add_budget(database, 1_000, deleted_at=OLD)
        await opened(database, "budget_1", "total")
        await post(database, [spent(1)])
        assert await sums(database) == {"budget_1": 0}


class TestThresholds:
    async def test_each_is_told_once_in_a_window(self, database: Database) -> None:
        await add_budget(database, 100, hard=False)
        await opened(database, "budget_1", "total")
        for cost in (49, 1, 10, 40, 1):
            await post(database, [spent(cost)])
        assert await events(database) == [(50, 100, 50), (80, 100, 100), (100, 100, 100)]

    async def test_a_raised_limit_can_be_reached_again(self, database: Database) -> None:
        await add_budget(database, 100)
        await opened(database, "budget_1", "total")
        await post(database, [spent(100)])
        await set_limit(database, 200)
        await post(database, [spent(1)])
        assert await events(database) == [(50, 100, 100), (80, 100, 100), (100, 100, 100), (50, 200, 101)]

    async def test_what_was_spent_before_the_window_was_made_is_told_then(self, database: Database) -> None:
        await post(database, [spent(85, created_at=MIDNIGHT)])
        await add_budget(database, 100, period="month")
        await opened(database, "budget_1", "month")
        assert await events(database) == [(50, 100, 85), (80, 100, 85)]


class TestOpenWindow:
    async def test_what_was_spent_in_the_window_before_the_budget_was_made_counts(self, database: Database) -> None:
        moments = (MIDNIGHT - 1, MIDNIGHT, MIDNIGHT + DAY - 1, MIDNIGHT + DAY)
        await post(database, [spent(10**n, created_at=moment) for n, moment in enumerate(moments)])
        await post(database, [spent(5, created_at=MIDNIGHT, api_key_id="another")])
        await add_budget(database, 1_000, period="day")
        await opened(database, "budget_1", "day")
        assert await sums(database) == {"budget_1": 110}
        assert await leases(database) == {"": (0, 110)}

    async def test_a_total_counts_from_its_very_moment_on(self, database: Database) -> None:
        since = MIDNIGHT + 10.5
        moments = (since - 0.001, since, MIDNIGHT + HOUR - 0.001, MIDNIGHT + HOUR, MIDNIGHT + 100 * DAY)
        await post(database, [spent(10**n, created_at=moment) for n, moment in enumerate(moments)])
        await add_budget(database, 1_000, created_at=from_unix(since))
        await opened(database, "budget_1", "total", MIDNIGHT + DAY, from_unix(since))
        assert await sums(database) == {"budget_1": 11_110}

    async def test_one_that_is_there_stays_as_it_is(self, database: Database) -> None:
        await add_budget(database, 1_000)
        for _ in range(2):
            await opened(database, "budget_1", "total")
            await post(database, [spent(3)])
        assert await sums(database) == {"budget_1": 6}

    async def test_no_row_is_missed_or_counted_twice_while_others_post(self, database: Database) -> None:
        await add_budget(database, 10**9)

        async def open_late() -> None:
            await opened(database, "budget_1", "total")

        work = [post(database, [spent(1)]) for _ in range(30)]
        work[15:15] = [open_late(), open_late()]
        await asyncio.gather(*work)
        assert await sums(database) == {"budget_1": 30}
        assert sum(used for _, used in (await leases(database)).values()) == 30
