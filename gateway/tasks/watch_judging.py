"""Tells when a judge falls behind: in the log and to webhooks, once each time."""

import logging
from datetime import timedelta

from gateway.judging import lag
from gateway.judging.lag import Late
from gateway.kit.clock import now, unix
from gateway.services import WorkerServices
from gateway.webhooks.outbox import Event, announce

log = logging.getLogger(__name__)


async def watch_judging(wv: WorkerServices) -> None:
    """Raises Unavailable; the next round looks again."""
    limit = timedelta(minutes=wv.settings.worker.judge_lag_minutes)
    async with wv.database.session() as session:
        late = await lag.turned_late(session, limit)
        await announce(session, [of_judge(each) for each in late])
    for each in late:
        log.warning(
            "judge %s (%s) lags: %d wait, the oldest since %s",
            each.judge.name, each.judge.id, each.lag.waiting, each.lag.oldest,
        )  # fmt: skip


def of_judge(late: Late) -> Event:
    return Event(
        "judge.lagging",
        now(),
        {
            "id": late.judge.id,
            "name": late.judge.name,
            "project_id": late.judge.project_id,
            "waiting": late.lag.waiting,
            "oldest_at": unix(late.lag.oldest) if late.lag.oldest else None,
        },
    )
