"""Runs whose end nobody was told of yet."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import EvalRunRow as Run


async def unannounced(session: AsyncSession, limit: int) -> list[Run]:
    """Those that ended and were not deleted, the first first; locked, and without those that another worker tells of now."""
    ended = (Run.finished_at.is_not(None), Run.announced_at.is_(None), Run.deleted_at.is_(None))
    query = select(Run).where(*ended).order_by(Run.finished_at, Run.id).limit(limit)
    return list(await session.scalars(query.with_for_update(skip_locked=True)))
