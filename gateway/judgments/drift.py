"""Criteria of which fewer answers pass than before: the last day against the four weeks before it.

People, rules, models and other systems are never pooled, nor are versions of a criterion or of a judge. The share is that of
answers, each once, however often it was judged; both 95% intervals (Wilson's) have to be apart, of 30 answers or more each.
People's review of answers that were picked for a queue says nothing of all answers, and is left out; a random sample is in.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.judgments.summary import wilson
from gateway.protocol.judgments import Interval

RECENT, BEFORE = timedelta(days=1), timedelta(days=28)
FEWEST = 30
MOST_RECENT, MOST_BEFORE = 2_000, 5_000
"""Judgments that are read at most, the newest: of a criterion, and of one source of it."""
_COUNTED = """status = 'ok' AND passed IS NOT NULL AND superseded_at IS NULL AND eval_run_id IS NULL AND order_shown IS NULL
            AND NOT (source = 'human' AND identifier LIKE 'queue\\_%' AND sampling IS NULL)"""
QUERY = text(f"""
WITH recent AS MATERIALIZED (
    SELECT project_id, criterion_id, name, source, judge, count(*) AS n, avg(share)::float8 AS share FROM (
        SELECT c.project_id, c.id AS criterion_id, c.name, j.source, j.judge, j.exchange_id, j.choice_index,
               avg(j.passed::int) AS share
        FROM criteria c CROSS JOIN LATERAL (
            SELECT source, coalesce(judge_version_id, '') AS judge, exchange_id, choice_index, passed FROM judgments
            WHERE project_id = c.project_id AND criterion_id = c.id AND created_at >= :recent AND {_COUNTED}
            ORDER BY created_at DESC LIMIT {MOST_RECENT}
        ) j WHERE c.archived_at IS NULL GROUP BY 1, 2, 3, 4, 5, 6, 7
    ) answers GROUP BY 1, 2, 3, 4, 5 HAVING count(*) >= {FEWEST}
)
SELECT recent.*, before.n AS n_before, before.share AS share_before, judges.name AS judge_name
FROM recent CROSS JOIN LATERAL (
    SELECT count(*) AS n, avg(share)::float8 AS share FROM (
        SELECT avg(passed::int) AS share FROM (
            SELECT exchange_id, choice_index, passed FROM judgments
            WHERE project_id = recent.project_id AND criterion_id = recent.criterion_id AND source = recent.source
            AND coalesce(judge_version_id, '') = recent.judge
            AND created_at >= :before AND created_at < :recent AND {_COUNTED}
            ORDER BY created_at DESC LIMIT {MOST_BEFORE}
        ) judged GROUP BY exchange_id, choice_index
    ) answers
) before
LEFT JOIN judge_versions ON judge_versions.id = recent.judge LEFT JOIN judges ON judges.id = judge_versions.judge_id
WHERE before.n >= {FEWEST} AND before.share > recent.share
ORDER BY before.share - recent.share DESC
""")  # noqa: S608 names of this module


@dataclass(frozen=True, slots=True)
class Share:
    """Of answers that pass."""

    value: float
    n: int

    @property
    def interval(self) -> Interval:
        return wilson(self.value, self.n)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    project_id: str
    criterion_id: str
    criterion: str
    source: str
    judge_version_id: str
    """Empty where it was no judge's."""
    judge: str | None
    """Its name."""
    now: Share
    before: Share


async def worse(session: AsyncSession, moment: datetime) -> list[Drift]:
    """Of all projects, the largest fall first. It reads judgments of weeks: for a worker, not for a page."""
    times = {"recent": moment - RECENT, "before": moment - RECENT - BEFORE}
    return list(_apart(await session.execute(QUERY, times)))


def _apart(rows: object) -> Iterator[Drift]:
    for row in rows:  # type: ignore[attr-defined]
        now, before = Share(row.share, row.n), Share(row.share_before, row.n_before)
        if now.interval.high < before.interval.low:
            yield Drift(
                project_id=row.project_id,
                criterion_id=row.criterion_id,
                criterion=row.name,
                source=row.source,
                judge_version_id=row.judge,
                judge=row.judge_name,
                now=now,
                before=before,
            )
