"""Jobs whose end nobody was told of yet."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import FineTuningJobRow as Job
from gateway.fine_tuning.transitions import ENDED


async def unannounced(session: AsyncSession, limit: int) -> list[Job]:
    """Those that ended, the first first; locked, and without those that another worker tells of now.

    A job ends in the UPDATE that sets `finished_at` (repository.move), so that none is missed.
    """
    ended = (Job.finished_at.is_not(None), Job.announced_at.is_(None), Job.status.in_(ENDED))
    query = select(Job).where(*ended).order_by(Job.finished_at, Job.id).limit(limit)
    return list(await session.scalars(query.with_for_update(skip_locked=True)))
