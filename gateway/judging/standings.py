"""How all judges of a project are doing, in a number of queries that does not depend on how many there are."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import CalibrationRow, JudgeRow, JudgeVersionRow
from gateway.judging.lag import Lag
from gateway.judging.trust import WHOLE, Covered, doubts
from gateway.kit.clock import now

SPENT_WITHIN = timedelta(days=30)

COVERED = text(f"""
SELECT judge_version_id AS id, count(*) FILTER (WHERE status = 'ok') AS ok,
       count(*) FILTER (WHERE status = 'error') AS errors, count(*) FILTER (WHERE status = 'abstained') AS abstained,
       avg(score) FILTER (WHERE status = 'ok') AS mean_score
FROM judgments WHERE judge_version_id = ANY(:versions) AND {WHOLE} GROUP BY 1
""")  # noqa: S608
WAITING = text("""
SELECT v.judge_id AS id, count(*) AS waiting, count(*) FILTER (WHERE t.judge_version_id = ANY(:versions)) AS in_force,
       count(*) FILTER (WHERE leased_until > now()) AS under_way,
       count(*) FILTER (WHERE tries > 0 AND (leased_until IS NULL OR leased_until <= now())) AS tried,
       min(t.created_at) AS oldest
FROM judging_tasks t JOIN judge_versions v ON v.id = t.judge_version_id
WHERE t.project_id = :project AND t.done_at IS NULL GROUP BY 1
""")
SPENT = text("""
SELECT v.judge_id AS id, sum(j.cost_nano) AS nano, count(*) FILTER (WHERE j.judge_exchange_id IS NOT NULL) AS calls
FROM judge_versions v JOIN judgments j ON j.judge_version_id = v.id
WHERE v.judge_id = ANY(:judges) AND j.created_at > :since GROUP BY 1
""")
"""The calls that judgments name: of a panel, and of both orders, each has its own row."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Of one judge: its version in force, but for the lag and the spend, which are of all."""

    judge: JudgeRow
    version_id: str
    calibration: CalibrationRow | None
    covered: Covered
    lag: Lag
    cost_nano: int
    calls: int

    @property
    def doubts(self) -> list[str]:
        return doubts(self.judge, self.calibration, self.covered)


async def standings(
    session: AsyncSession, project_id: str, judges: Sequence[JudgeRow], versions: dict[str, JudgeVersionRow]
) -> list[Standing]:
    """Args: versions: the one in force by the judge's id."""
    ids = [each.id for each in versions.values()]
    newest = select(CalibrationRow).where(CalibrationRow.judge_version_id.in_(ids))
    newest = newest.ext(distinct_on(CalibrationRow.judge_version_id)).order_by(
        CalibrationRow.judge_version_id, CalibrationRow.created_at.desc(), CalibrationRow.id
    )
    calibrations = {each.judge_version_id: each for each in await session.scalars(newest)}
    covered = {row.id: row for row in await session.execute(COVERED, {"versions": ids})}
    waiting = {row.id: row for row in await session.execute(WAITING, {"project": project_id, "versions": ids})}
    since = now() - SPENT_WITHIN
    asked = {"judges": [each.id for each in judges], "since": since}
    spent = {row.id: row for row in await session.execute(SPENT, asked)}
    found: list[Standing] = []
    for judge in judges:
        version_id = versions[judge.id].id
        wait, cost = waiting.get(judge.id), spent.get(judge.id)
        found.append(
            Standing(
                judge=judge,
                version_id=version_id,
                calibration=calibrations.get(version_id),
                covered=_covered(covered.get(version_id), wait.in_force if wait else 0),
                lag=Lag(wait.waiting, wait.under_way, wait.tried, wait.oldest) if wait else Lag(0, 0, 0, None),
                cost_nano=int(cost.nano or 0) if cost else 0,
                calls=cost.calls if cost else 0,
            )
        )
    return found


def _covered(row: Any, waiting: int) -> Covered:
    if row is None:
        return Covered(0, 0, 0, waiting, None, {})
    return Covered(row.ok, row.errors, row.abstained, waiting, row.mean_score, {})
