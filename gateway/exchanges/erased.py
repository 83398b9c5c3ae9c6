"""Copies of what exchanges say are not made while the exchanges are erased."""

from collections.abc import Collection

from sqlalchemy import literal, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import ExchangeDeletionRow, ExchangeRow, JudgmentRow
from gateway.exchanges.deletions import LOCK, USER


async def hold_off(session: AsyncSession, ids: Collection[str]) -> frozenset[str]:
    """Those of `ids` that were erased, or are about to be with all of their end user's.

    Until the end of the transaction no erasing begins: one that begins then finds the copies that were written here, and
    erases them, too.
    """
    await session.execute(text("SELECT pg_advisory_xact_lock_shared(:key)"), {"key": LOCK})
    told = ExchangeDeletionRow
    one_by_one = select(told.exchange_id).where(told.exchange_id.in_(ids))
    of_user = (told.exchange_id == literal(USER) + ExchangeRow.end_user) & (told.project_id == ExchangeRow.project_id)
    with_user = select(ExchangeRow.id).join(told, of_user & (ExchangeRow.created_at <= told.deleted_at))
    return frozenset(await session.scalars(one_by_one.union(with_user.where(ExchangeRow.id.in_(ids)))))


async def without_words(session: AsyncSession, judgment_ids: Collection[str]) -> frozenset[str]:
    """Those of these corrections whose words were erased. After `hold_off`: none is until the end of the transaction."""
    silent = select(JudgmentRow.id).where(JudgmentRow.id.in_(judgment_ids), JudgmentRow.edited_message.is_(None))
    return frozenset(await session.scalars(silent))
