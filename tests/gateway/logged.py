"""What the exchange log holds, without waiting for the background drain."""

from sqlalchemy import select

from gateway.db.database import Database
from gateway.db.tables import ExchangeRow, LedgerRow, UsageDayRow, UsageHourRow
from gateway.services import Services


async def rows(sv: Services) -> list[ExchangeRow]:
    """Every exchange that has ended, oldest first."""
    await sv.drain.drain()
    return await stored(sv.database)


async def row(sv: Services) -> ExchangeRow:
    """The only one."""
    found = await rows(sv)
    assert len(found) == 1, [each.id for each in found]
    return found[0]


async def stored(database: Database) -> list[ExchangeRow]:
    async with database.session() as session:
        return list(await session.scalars(select(ExchangeRow).order_by(ExchangeRow.id)))


async def ledger(database: Database) -> list[LedgerRow]:
    async with database.session() as session:
        return list(await session.scalars(select(LedgerRow).order_by(LedgerRow.id)))


async def hours(database: Database) -> list[UsageHourRow]:
    async with database.session() as session:
        return list(await session.scalars(select(UsageHourRow).order_by(*UsageHourRow.__table__.columns)))


async def days(database: Database) -> list[UsageDayRow]:
    async with database.session() as session:
        return list(await session.scalars(select(UsageDayRow).order_by(*UsageDayRow.__table__.columns)))
