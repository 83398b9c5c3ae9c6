"""What a training costs in tests, and what the ledger and the budgets say of it."""

from typing import Any

import msgspec
from sqlalchemy import select

from gateway.db.changes import touch
from gateway.db.database import Database
from gateway.db.tables import BudgetLeaseRow, BudgetRow, BudgetWindowRow, LedgerRow
from gateway.kit.clock import now
from gateway.settings import PriceSettings, Settings
from tests.fakes.engine import BASE

NANO = 10**9
TOKENS_NANO = 300 * 10**6
"""The fake trainer's 300 tokens at $1,000 for 1M."""
TIME_NANO = 1 * NANO
"""Its half a second at $7,200 an hour."""


def with_price(
    settings: Settings, *, training: float | None = 1000.0, training_hour: float | None = 7200.0
) -> Settings:
    price = PriceSettings(model=BASE, input=1, output=1, training=training, training_hour=training_hour)
    return msgspec.structs.replace(settings, prices=(*settings.prices, price))


async def charges(database: Database, job: dict[str, Any]) -> list[LedgerRow]:
    """Of one job, in their order."""
    async with database.session() as session:
        query = select(LedgerRow).where(LedgerRow.holder == job["id"]).order_by(LedgerRow.id)
        return list(await session.scalars(query))


async def add_budget(database: Database, project_id: str, limit: int, budget_id: str = "budget_1") -> None:
    """A hard one of a project, for each month."""
    async with database.session() as session:
        row = BudgetRow(
            id=budget_id,
            created_at=now(),
            scope="project",
            project_id=project_id,
            period="month",
            limit_nano=limit,
            hard=True,
            thresholds=[],
            source="budgets",
        )
        session.add(row)
        await session.flush()
        await touch(session, "budgets")


async def raise_budget(database: Database, limit: int, budget_id: str = "budget_1") -> None:
    async with database.session() as session:
        (await session.get_one(BudgetRow, budget_id)).limit_nano = limit
        await touch(session, "budgets")


async def spent(database: Database) -> int:
    """Of all windows."""
    async with database.session() as session:
        return sum(await session.scalars(select(BudgetWindowRow.spent_nano)))


async def unspent(database: Database, job: dict[str, Any]) -> int:
    """What is held for a job and not spent."""
    async with database.session() as session:
        leases = await session.scalars(select(BudgetLeaseRow).where(BudgetLeaseRow.holder == job["id"]))
        return sum(max(lease.granted_nano - lease.spent_nano, 0) for lease in leases)


async def unspent_in(database: Database, job: dict[str, Any]) -> dict[str, int]:
    """The same by budget; without those in which nothing is held."""
    async with database.session() as session:
        leases = await session.scalars(select(BudgetLeaseRow).where(BudgetLeaseRow.holder == job["id"]))
        return {each.budget_id: each.granted_nano - each.spent_nano for each in leases}
