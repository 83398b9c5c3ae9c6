"""Looks for alerts, and tells webhooks when one starts or ends: once each time, however many workers look."""

import logging
from collections.abc import Sequence

from gateway import alert_conditions, open_alerts
from gateway.db.tables import AlertRow
from gateway.judgments import drift
from gateway.judgments.drift import Drift, Share
from gateway.kit.clock import now, unix
from gateway.open_alerts import OF_GATEWAYS, OF_QUALITY, OF_WORKERS
from gateway.protocol.alerts import Alert
from gateway.services import WorkerServices

log = logging.getLogger(__name__)

SOURCES = {"human": "people", "rule": "rules", "llm": "models", "external": "other systems"}
MOST_DRIFTS = 100


async def watch_alerts(wv: WorkerServices) -> None:
    """Raises Unavailable; the next round looks again.

    What lasts is noted before what is past ends: a worker that was away for long ends nothing that is still so. What gateways
    know ends once they have had the time to note it, too.
    """
    moment = now()
    kinds = (*OF_WORKERS, *OF_GATEWAYS) if wv.looks.are_steady(moment) else OF_WORKERS
    async with wv.database.session() as session:
        found = await alert_conditions.in_database(session, wv.settings)
        started = await open_alerts.note(session, found)
        ended = await open_alerts.end_past(session, kinds)
    wv.looks.add(moment)
    _log(started, ended)


async def watch_quality(wv: WorkerServices) -> None:
    """The same for what answers are worth: it reads judgments of weeks, so less often. Raises Unavailable."""
    async with wv.database.session() as session:
        moment = now()
        found = (await drift.worse(session, moment))[:MOST_DRIFTS]
        began = unix(moment - drift.RECENT)
        started = await open_alerts.note(session, [of_drift(each, began) for each in found])
        ended = await open_alerts.end_past(session, OF_QUALITY)
    _log(started, ended)


def _log(started: Sequence[Alert], ended: Sequence[AlertRow]) -> None:
    for alert in started:
        log.warning("alert %s: %s", alert.id, alert.message)
    for row in ended:
        log.info("alert %s is over", row.id)


def of_drift(each: Drift, since: int) -> Alert:
    """Args: since: when the day that is compared began."""
    who = f"the judge {each.judge}" if each.judge else SOURCES.get(each.source, each.source)
    return Alert(
        id=f"quality_drift:{each.criterion_id}:{each.source}:{each.judge_version_id}",
        kind="quality_drift",
        severity="warning",
        message=f"By {who}, fewer answers pass {each.criterion}: {_said(each.now)} in the last day,"
        f" {_said(each.before)} in the four weeks before.",
        since=since,
        value=each.now.value,
        limit=each.before.value,
        unit="share",
        n=each.now.n,
        project_id=each.project_id,
        subject_type="criterion",
        subject_id=each.criterion_id,
        criterion=each.criterion,
        source=each.source,
    )


def _said(share: Share) -> str:
    interval = share.interval
    return f"{share.value:.0%} ({interval.low:.0%} to {interval.high:.0%}, n = {share.n:,})"
