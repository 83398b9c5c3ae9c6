"""What a new job is expected to take, on the job: in the end the actual numbers stand beside it."""

import logging

from sqlalchemy.ext.asyncio import AsyncSession

from gateway.datasets import repository as reports
from gateway.db.tables import FileRow, FineTuningJobRow
from gateway.errors import Refusal
from gateway.fine_tuning import estimates, repository
from gateway.protocol.datasets import Report
from gateway.services import WorkerServices
from gateway.tasks.charge_training import training_rates

log = logging.getLogger(__name__)


async def estimate_job(wv: WorkerServices, job: FineTuningJobRow, report: Report) -> None:
    """A job is trained without an estimate, too: what stands in the way of one is only logged."""
    try:
        async with wv.database.session() as session:
            call = await estimates.question(session, wv.settings, job, report)
            rates = await training_rates(wv, session, job)
            call = estimates.priced(call, tokens_nano=rates.tokens, hour_nano=rates.hour)
        told = await estimates.estimate(call)
        option = estimates.chosen_option(told)
        async with wv.database.session() as session:
            await repository.set_values(session, job.id, estimate=estimates.for_job(told))
            if option.advice:
                await repository.add_event(session, job.id, "does-not-fit", option.advice, level="warn")
    except Refusal as refusal:
        log.info("no estimate for %s: %s", job.id, refusal)


async def estimate_waiting_jobs(wv: WorkerServices) -> None:
    """Jobs that were validated before any worker had told what it trains on. Raises Unavailable."""
    async with wv.database.session() as session:
        waiting = [(job, await _report(session, wv, job)) for job in await repository.without_estimate(session)]
    for job, report in waiting:
        if report is not None:
            await estimate_job(wv, job, report)


async def _report(session: AsyncSession, wv: WorkerServices, job: FineTuningJobRow) -> Report | None:
    file = await session.get(FileRow, job.training_file)
    return reports.kept(file, job.method["type"], wv.settings.engine.model_path) if file else None
