"""Which answers of the log people liked."""

from math import ceil, floor

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import JudgmentRow
from gateway.kit.ids import first_request_id
from gateway.protocol.training_examples import LoggedAnswers

EARLIER_SECONDS, LATER_SECONDS = 3600, 60
"""An id is made before `created_at` is known, and the clock may be set back (gateway/exchanges/repository.py)."""


async def liked(
    session: AsyncSession, project_id: str, wanted: LoggedAnswers, before: str | None, limit: int
) -> list[str]:
    """Ids of exchanges that some person liked or edited, newest first; the rest of `wanted` is asked of the log.

    Args: before: the last id of the page before.
    """
    place = JudgmentRow.exchange_id
    query = select(place).where(
        JudgmentRow.project_id == project_id,
        JudgmentRow.source == "human",
        JudgmentRow.status == "ok",
        JudgmentRow.superseded_at.is_(None),
        JudgmentRow.eval_run_id.is_(None),
        JudgmentRow.kind != "pairwise",
        JudgmentRow.passed | JudgmentRow.edited_message.is_not(None),
    )
    if wanted.created_after is not None:
        query = query.where(place >= first_request_id(floor(wanted.created_after - EARLIER_SECONDS)))
    if wanted.created_before is not None:
        query = query.where(place < first_request_id(ceil(wanted.created_before + LATER_SECONDS)))
    if before is not None:
        query = query.where(place < before)
    return list(await session.scalars(query.distinct().order_by(place.desc()).limit(limit)))
