"""What is not as it should be, as the database knows it: budgets, traffic, judges, engines. What a gateway process alone knows:
gateway/process_alerts.py."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.budgets import repository as budgets
from gateway.db.tables import (
    BudgetEventRow,
    BudgetRow,
    JudgeRow,
    JudgeVersionRow,
    JudgingTaskRow,
    LoadedModelRow,
    ModelRow,
    ReplicaRow,
)
from gateway.kit.clock import now, unix
from gateway.kit.money import format_usd
from gateway.metering import uptime
from gateway.metering.time_buckets import Buckets
from gateway.metering.traffic_report import Asked, Figures, traffic_report
from gateway.metering.uptime import Down
from gateway.protocol.alerts import Alert
from gateway.routing.upstream_rules import without_credentials
from gateway.settings import AlertSettings, Settings

MOST = 100
"""Of each kind."""
HOUR = 3600


async def in_database(session: AsyncSession, settings: Settings) -> list[Alert]:
    """Of every project, and of what all of them live on."""
    return [*await of_projects(session, settings, []), *await _replicas(session, settings)]


async def of_projects(session: AsyncSession, settings: Settings, project_ids: Sequence[str]) -> list[Alert]:
    """Args: project_ids: none means all, and what belongs to none of them."""
    return [
        *await _budgets(session, project_ids, settings.alerts.budget_percent),
        *await _traffic(session, project_ids, settings.alerts),
        *await _uptime(session, project_ids, settings.alerts),
        *await _judges(session, project_ids, timedelta(minutes=settings.worker.judge_lag_minutes)),
        *await _adapters(session, project_ids),
    ]


async def _budgets(session: AsyncSession, project_ids: Sequence[str], percent: float) -> list[Alert]:
    """Those of which more than `percent` of the limit is spent, the fullest first."""
    query = budgets.live()
    if project_ids:
        query = query.where(BudgetRow.project_id.in_(project_ids))
    rows = list(await session.scalars(query.order_by(BudgetRow.id)))
    states = await budgets.states(session, rows, now())
    full = [row for row in rows if states[row.id].spent * 100 >= row.limit_nano * percent]
    full = sorted(full, key=lambda row: -states[row.id].spent / max(row.limit_nano, 1))[:MOST]
    since = await _reached(session, {row.id: states[row.id].starts_at for row in full})
    return [_budget(row, states[row.id].spent, since.get(row.id)) for row in full]


async def _reached(session: AsyncSession, starts: dict[str, datetime]) -> dict[str, datetime]:
    """When each budget reached its last threshold in its window."""
    event = BudgetEventRow
    place = tuple_(event.budget_id, event.starts_at).in_(list(starts.items()))
    query = select(event.budget_id, func.max(event.created_at)).where(place).group_by(event.budget_id)
    return {row[0]: row[1] for row in await session.execute(query)}


def _budget(row: BudgetRow, spent: int, since: datetime | None) -> Alert:
    share = spent / max(row.limit_nano, 1)
    exhausted = share >= 1
    name = f"The budget {row.name or row.id}"
    left = "is exhausted: calls are refused" if row.hard else "is exceeded; it refuses nothing"
    state = left if exhausted else f"is spent to {share:.0%}"
    return Alert(
        kind="budget_exhausted" if exhausted else "budget_threshold",
        severity="critical" if exhausted and row.hard else "warning",
        message=f"{name} {state} (${format_usd(spent)} of ${format_usd(row.limit_nano)}).",
        since=unix(since) if since else None,
        value=share,
        limit=1,
        unit="share",
        project_id=row.project_id,
        subject_type="budget",
        subject_id=row.id,
    )


async def _traffic(session: AsyncSession, project_ids: Sequence[str], limits: AlertSettings) -> list[Alert]:
    """Of the last sixty minutes, or of the newest calls in them (gateway/metering/traffic_report.py)."""
    end = unix(now()) // 60 * 60 + 60
    buckets = Buckets(end - HOUR, end, 60)
    asked = Asked(buckets=buckets, project_ids=project_ids, group="project_id", groups=MOST)
    report = await traffic_report(session, asked)
    totals = [each for each in report.figures if each.start is None]
    found = [alert for each in totals for alert in (_error_rate(each, limits), _latency(each, limits)) if alert]
    for alert in found:
        alert.since = buckets.start
    return found


def _error_rate(each: Figures, limits: AlertSettings) -> Alert | None:
    errors, share = each.server_errors + each.upstream_errors, 0.0
    if each.requests >= limits.min_calls:
        share = errors / each.requests
    if share <= limits.error_rate:
        return None
    return Alert(
        kind="error_rate",
        severity="critical",
        message=f"{share:.1%} of the calls of the last hour failed ({errors:,} of {each.requests:,});"
        f" the limit is {limits.error_rate:.1%}.",
        since=None,
        value=share,
        limit=limits.error_rate,
        unit="share",
        n=each.requests,
        project_id=each.value,
        subject_type="project",
        subject_id=each.value,
    )


def _latency(each: Figures, limits: AlertSettings) -> Alert | None:
    times = each.times.get("latency")
    if times is None or times.n < limits.min_calls or times.p95 <= limits.p95_ms:
        return None
    return Alert(
        kind="latency",
        severity="warning",
        message=f"One answer in twenty took {times.p95 / 1000:,.1f} s or longer in the last hour (n = {times.n:,});"
        f" the limit is {limits.p95_ms / 1000:g} s.",
        since=None,
        value=times.p95,
        limit=limits.p95_ms,
        unit="ms",
        n=times.n,
        project_id=each.value,
        subject_type="project",
        subject_id=each.value,
    )


async def _uptime(session: AsyncSession, project_ids: Sequence[str], limits: AlertSettings) -> list[Alert]:
    if not limits.uptime:
        return []
    found = await uptime.below(session, limits.uptime, now(), project_ids, min_calls=limits.min_calls, most=MOST)
    return [_down(each, limits.uptime) for each in found]


def _down(each: Down, limit: float) -> Alert:
    return Alert(
        kind="uptime",
        severity="warning",
        message=f"{each.uptime:.2%} of the calls of the last 24 hours were answered without a failure of ours or of a model"
        f" ({each.failed:,} of {each.requests:,} failed); the limit is {limit * 100:g}%.",
        since=unix(each.since),
        value=each.uptime,
        limit=limit,
        unit="share",
        n=each.requests,
        project_id=each.project_id,
        subject_type="project",
        subject_id=each.project_id,
    )


async def _judges(session: AsyncSession, project_ids: Sequence[str], limit: timedelta) -> list[Alert]:
    """Whatever the workers have noted: they may be what is not there."""
    moment = now()
    oldest = func.min(JudgingTaskRow.created_at)
    query = (
        select(JudgeRow.id, JudgeRow.name, JudgeRow.project_id, func.count(), oldest)
        .join(JudgeVersionRow, JudgeVersionRow.judge_id == JudgeRow.id)
        .join(JudgingTaskRow, JudgingTaskRow.judge_version_id == JudgeVersionRow.id)
        .where(JudgingTaskRow.done_at.is_(None))
    )
    if project_ids:
        query = query.where(JudgingTaskRow.project_id.in_(project_ids))
    rows = await session.execute(
        query.group_by(JudgeRow.id).having(oldest < moment - limit).order_by(oldest).limit(MOST)
    )
    return [
        Alert(
            kind="judge_lag",
            severity="warning",
            message=f"The judge {name} is behind: {count:,} answers wait, the oldest for {_minutes(moment - waiting)}.",
            since=unix(waiting),
            value=(moment - waiting).total_seconds(),
            limit=limit.total_seconds(),
            unit="seconds",
            n=count,
            project_id=project_id,
            subject_type="judge",
            subject_id=id,
        )
        for id, name, project_id, count, waiting in rows
    ]


async def _adapters(session: AsyncSession, project_ids: Sequence[str]) -> list[Alert]:
    row = LoadedModelRow
    query = select(row, ModelRow.project_id).join(ModelRow, ModelRow.id == row.model_id)
    query = query.where(row.state == "failed", ModelRow.deleted_at.is_(None))
    if project_ids:
        query = query.where(ModelRow.project_id.in_(project_ids))
    found = await session.execute(query.order_by(row.changed_at.desc(), row.model_id).limit(MOST))
    return [
        Alert(
            id=f"adapter_failed:{loaded.model_id}:{loaded.replica}",
            kind="adapter_failed",
            severity="warning",
            message=f"The model {loaded.model_id} cannot be loaded: {loaded.problem or loaded.code or 'unknown'}",
            since=unix(loaded.changed_at),
            project_id=project_id,
            subject_type="model",
            subject_id=loaded.model_id,
        )
        for loaded, project_id in found
    ]


async def _replicas(session: AsyncSession, settings: Settings) -> list[Alert]:
    """Those of the settings that do not answer; one that sleeps is well."""
    urls = settings.engine.urls
    down = select(ReplicaRow).where(ReplicaRow.url.in_(urls), ReplicaRow.state == "down").order_by(ReplicaRow.url)
    return [
        Alert(
            kind="replica_down",
            severity="critical",
            message=f"The engine at {without_credentials(row.url)} does not answer: {row.problem or 'unknown'}",
            since=unix(row.seen_at) if row.seen_at else None,
            subject_type="replica",
            subject_id=without_credentials(row.url),
        )
        for row in await session.scalars(down)
    ]


def _minutes(waiting: timedelta) -> str:
    return f"{waiting.total_seconds() / 60:,.0f} minutes"
