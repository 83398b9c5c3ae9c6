"""How far judges are behind: what has no verdict yet, and since when (pitfall: judges that silently never run)."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import JudgeRow, JudgeVersionRow, JudgingTaskRow
from gateway.kit.clock import now

WAITING = text("""
SELECT count(*) AS waiting, count(*) FILTER (WHERE leased_until > now()) AS under_way,
       count(*) FILTER (WHERE tries > 0 AND (leased_until IS NULL OR leased_until <= now())) AS tried,
       min(created_at) AS oldest
FROM judging_tasks WHERE project_id = :project AND done_at IS NULL
AND judge_version_id IN (SELECT id FROM judge_versions WHERE judge_id = :judge)
""")


@dataclass(frozen=True, slots=True)
class Lag:
    """Of one judge, over all its versions."""

    waiting: int
    under_way: int
    tried: int
    oldest: datetime | None

    def seconds(self, moment: datetime) -> float:
        return max(0.0, (moment - self.oldest).total_seconds()) if self.oldest else 0.0


async def of_judge(session: AsyncSession, row: JudgeRow) -> Lag:
    found = (await session.execute(WAITING, {"project": row.project_id, "judge": row.id})).one()
    return Lag(found.waiting, found.under_way, found.tried, found.oldest)


async def judged_since(session: AsyncSession, judge_id: str, moment: datetime) -> int:
    versions = select(JudgeVersionRow.id).where(JudgeVersionRow.judge_id == judge_id)
    done = JudgingTaskRow.done_at > moment
    return (
        await session.scalar(
            select(func.count()).select_from(JudgingTaskRow).where(done, JudgingTaskRow.judge_version_id.in_(versions))
        )
        or 0
    )


@dataclass(frozen=True, slots=True)
class Late:
    """A judge that began to lag."""

    judge: JudgeRow
    lag: Lag


async def turned_late(session: AsyncSession, limit: timedelta) -> list[Late]:
    """Judges that lag now and did not when this was last asked; noted with this transaction, so each is told of once.

    Those that have caught up are noted, too.
    """
    moment = now()
    oldest = (
        select(JudgeVersionRow.judge_id, func.min(JudgingTaskRow.created_at).label("oldest"))
        .join(JudgingTaskRow, JudgingTaskRow.judge_version_id == JudgeVersionRow.id)
        .where(JudgingTaskRow.done_at.is_(None))
        .group_by(JudgeVersionRow.judge_id)
        .subquery()
    )
    is_late = oldest.c.oldest < moment - limit
    turned = (is_late & JudgeRow.lagging_since.is_(None)) | (
        (oldest.c.oldest.is_(None) | ~is_late) & JudgeRow.lagging_since.is_not(None)
    )
    query = select(JudgeRow).outerjoin(oldest, oldest.c.judge_id == JudgeRow.id).where(turned)
    late: list[Late] = []
    for row in list(await session.scalars(query.with_for_update(skip_locked=True, of=JudgeRow))):
        if row.lagging_since is not None:
            row.lagging_since = None
        else:
            row.lagging_since = moment
            late.append(Late(row, await of_judge(session, row)))
    return late
