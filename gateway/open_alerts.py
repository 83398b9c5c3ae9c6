"""Alerts while they last, in a table: found by workers and gateways, told to webhooks when they start and when they end.

An alert starts when its row is written, and ends when nobody has found it again for ENDS_AFTER: so one that comes and goes at its
limit is told once, and a process that dies in the middle keeps none open for ever. After a break for everybody, whoever looks
first ends nothing that others have yet to look for: each ends the kinds that it has just looked for itself. Each is told in the transaction that
writes or deletes its row, of which there can be one only: never twice, by however many workers, and whenever they restart.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import get_args

import msgspec
from sqlalchemy import delete, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.expression import literal_column

from gateway.alert_looks import ENDS_AFTER
from gateway.db.tables import AlertRow
from gateway.kit.clock import now, unix
from gateway.protocol.alerts import Alert, Kind
from gateway.webhooks.outbox import Event, announce

OF_QUALITY: tuple[Kind, ...] = ("quality_drift",)
"""Kinds that workers find when they compare judgments."""
OF_GATEWAYS: tuple[Kind, ...] = ("spool_depth", "spool_full", "upstream_failing")
"""Kinds that a gateway finds, of itself."""
OF_WORKERS: tuple[Kind, ...] = tuple(each for each in get_args(Kind) if each not in (*OF_QUALITY, *OF_GATEWAYS))
"""Kinds that workers find in the database, every time they look."""
TOLD_ELSEWHERE = ("budget_exhausted", "budget_threshold", "judge_lag")
"""Kinds with events of their own: budget.exhausted, budget.threshold_reached, judge.lagging."""
NOT_ASKED_FOR = {
    "quality_drift": ENDS_AFTER,
    "spool_depth": timedelta(seconds=60),
    "spool_full": timedelta(seconds=60),
    "upstream_failing": timedelta(seconds=60),
}
"""Kinds that a process which is asked cannot find, or not quickly: they are read where they were noted, not longer ago than this."""

_BEGINNING = func.jsonb_build_object("since", AlertRow.alert["since"])
"""Stays what was told when it started, where that was the start of a window that moves on with each look."""


async def note(session: AsyncSession, found: Sequence[Alert]) -> list[Alert]:
    """That these last, or begin. Returns those that begin, which webhooks are told of."""
    moment = now()
    asked = sorted(found, key=lambda each: each.id)  # one order for everybody: no two processes wait for each other
    sent = [each for each in asked if each.kind not in TOLD_ELSEWHERE]
    started = [each for each in sent if await _is_new(session, each, moment)]
    await announce(session, [Event("alert.started", moment, _told(each)) for each in started])
    return started


async def end_past(session: AsyncSession, kinds: Sequence[Kind]) -> list[AlertRow]:
    """Those that nobody has found for a while, which webhooks are told of. Args: kinds: that were just looked for, and noted."""
    past = (AlertRow.kind.in_(kinds), AlertRow.seen_at < now() - ENDS_AFTER)
    ended = list(await session.scalars(delete(AlertRow).where(*past).returning(AlertRow)))
    await announce(session, [_ended(row) for row in ended])
    return ended


async def noted(session: AsyncSession, project_ids: Sequence[str], most: int) -> list[Alert]:
    """Of NOT_ASKED_FOR, the newest first. Args: project_ids: none means all, and what belongs to none of them."""
    moment = now()
    fresh = [(AlertRow.kind == kind) & (AlertRow.seen_at >= moment - age) for kind, age in NOT_ASKED_FOR.items()]
    query = select(AlertRow).where(or_(*fresh))
    if project_ids:
        query = query.where(AlertRow.project_id.in_(project_ids))
    rows = await session.scalars(query.order_by(AlertRow.started_at.desc(), AlertRow.id).limit(most))
    return [_alert(row) for row in rows]


async def _is_new(session: AsyncSession, alert: Alert, moment: datetime) -> bool:
    row = insert(AlertRow).values(
        id=alert.id,
        kind=alert.kind,
        project_id=alert.project_id,
        started_at=moment,
        seen_at=moment,
        alert=msgspec.to_builtins(alert),
    )
    newest = {"seen_at": moment, "alert": row.excluded.alert.op("||")(_BEGINNING)}
    written = row.on_conflict_do_update(index_elements=[AlertRow.id], set_=newest)
    return bool(await session.scalar(written.returning(literal_column("xmax = 0"))))


def _alert(row: AlertRow) -> Alert:
    alert = msgspec.convert(row.alert, Alert)
    alert.since = alert.since or unix(row.started_at)
    return alert


def _told(alert: Alert) -> dict[str, object]:
    """What a webhook gets."""
    told: dict[str, object] = msgspec.to_builtins(alert)
    del told["object"]
    return told


def _ended(row: AlertRow) -> Event:
    times = {"started_at": unix(row.started_at), "ended_at": unix(row.seen_at)}
    return Event("alert.ended", now(), _told(_alert(row)) | times)
