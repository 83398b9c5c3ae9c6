"""Budgets made anew from the ledger."""

import pytest
from sqlalchemy import text

from gateway.budgets.reconciliation import reconcile
from gateway.db.database import Database
from tests.gateway.budgets.processes import add_budget, add_key, leases, polled, post, spent, windows

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
async def spending(database: Database) -> None:
    await add_key(database)
    await add_budget(database, 1_000)
    process = await polled(database, "one")
    process.settle(await process.reserve(100), 60)
    await process.drain()
    await post(database, [spent(5, holder="gone")])
    await process.budgets.released("gone")


class TestReconcile:
    async def test_nothing_to_tell(self, database: Database) -> None:
        async with database.session() as session:
            assert await reconcile(session) == []

    async def test_what_differs_is_told_and_mended(self, database: Database) -> None:
        async with database.session() as session:
            await session.execute(text("UPDATE budget_windows SET spent_nano = 1"))
            await session.execute(text("UPDATE budget_leases SET spent_nano = spent_nano + 1"))
        async with database.session() as session:
            found = await reconcile(session)
        told = {(each.holder, each.before, each.truly) for each in found}
        assert told == {(None, 1, 65), ("one", 61, 60), ("", 6, 5)}
        assert list((await windows(database)).values()) == [65]
        assert await leases(database) == {"": (0, 5), "one": (100, 60)}
        async with database.session() as session:
            assert await reconcile(session) == []
