"""Turns what happened into deliveries to webhooks, in one transaction with the note that it was told: exactly once."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from gateway.budgets import repository as budgets
from gateway.db.tables import BudgetEventRow, BudgetRow, EvalRunRow, FineTuningJobRow
from gateway.evals import announcements as ended_runs
from gateway.fine_tuning import announcements
from gateway.kit.clock import now, unix
from gateway.kit.money import usd_from_nano
from gateway.protocol.webhooks import EventType
from gateway.services import WorkerServices
from gateway.webhooks.outbox import Event, announce

BATCH = 100
OF_JOBS: dict[str, EventType] = {
    "succeeded": "fine_tuning.job.succeeded",
    "failed": "fine_tuning.job.failed",
    "cancelled": "fine_tuning.job.cancelled",
}
OF_RUNS: dict[str, EventType] = {
    "completed": "eval.run.succeeded",
    "failed": "eval.run.failed",
    "canceled": "eval.run.canceled",
}


async def announce_events(wv: WorkerServices) -> None:
    """Raises Unavailable; the next round goes on."""
    told = BATCH
    while told == BATCH:
        async with wv.database.session() as session:
            told = max(await _announce_budgets(session), await _announce_jobs(session), await _announce_runs(session))


async def _announce_budgets(session: AsyncSession) -> int:
    found = await budgets.unannounced(session, BATCH)
    await announce(session, [of_budget(event, budget) for event, budget in found])
    for event, _ in found:
        event.announced_at = now()
    return len(found)


async def _announce_jobs(session: AsyncSession) -> int:
    found = await announcements.unannounced(session, BATCH)
    await announce(session, [of_job(job) for job in found])
    for job in found:
        job.announced_at = now()
    return len(found)


async def _announce_runs(session: AsyncSession) -> int:
    found = await ended_runs.unannounced(session, BATCH)
    await announce(session, [of_run(run) for run in found])
    for run in found:
        run.announced_at = now()
    return len(found)


def of_budget(event: BudgetEventRow, budget: BudgetRow) -> Event:
    """Exhausted is a hard budget at its limit; one that refuses nothing only reaches thresholds."""
    exhausted = budget.hard and event.threshold >= 100
    ends_at = budgets.window_at(budget, event.starts_at).ends_at
    data: dict[str, Any] = {
        "id": budget.id,
        "name": budget.name,
        "scope": budget.scope,
        "project_id": budget.project_id,
        "api_key_id": budget.api_key_id,
        "period": budget.period,
        "hard": budget.hard,
        "threshold": event.threshold,
        "limit_usd": usd_from_nano(event.limit_nano),
        "spent_usd": usd_from_nano(event.spent_nano),
        "starts_at": unix(event.starts_at),
        "ends_at": unix(ends_at) if ends_at else None,
        "source": budget.source,
    }
    channel = {"notification_channel": budget.notification} if budget.notification else {}
    return Event("budget.exhausted" if exhausted else "budget.threshold_reached", event.created_at, data | channel)


def of_job(job: FineTuningJobRow) -> Event:
    """OpenAI's event has the id alone."""
    assert job.finished_at is not None
    data = {"id": job.id, "project_id": job.project_id, "fine_tuned_model": job.fine_tuned_model}
    return Event(OF_JOBS[job.status], job.finished_at, data)


def of_run(run: EvalRunRow) -> Event:
    """OpenAI's event has the id alone."""
    assert run.finished_at is not None
    return Event(
        OF_RUNS[run.status], run.finished_at, {"id": run.id, "eval_id": run.eval_id, "project_id": run.project_id}
    )
