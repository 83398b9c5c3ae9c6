"""Copies of what exchanges say are not made while the exchanges are erased."""

from collections.abc import Collection

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import ExchangeDeletionRow
from gateway.exchanges.erasure import LOCK


async def hold_off(session: AsyncSession, ids: Collection[str]) -> frozenset[str]:
    """Those of `ids` that were erased. Until the end of the transaction no erasing begins: one that begins then finds the
    copies that were written here, and erases them, too."""
    await session.execute(text("SELECT pg_advisory_xact_lock_shared(:key)"), {"key": LOCK})
    known = select(ExchangeDeletionRow.exchange_id).where(ExchangeDeletionRow.exchange_id.in_(ids))
    return frozenset(await session.scalars(known))
