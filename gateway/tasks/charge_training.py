"""What a fine-tuning job trained is charged: once, whoever dies, and by what its directory tells.

A charge is what was trained since the last one, so to charge again charges nothing. It is made in the transaction in
which a job succeeds or fails; behind one that was cancelled or paused, once its trainer has ended; and behind a worker
that died, when somebody tidies up (gateway/tasks/settle_fine_tuning_jobs.py).
"""

import asyncio

from sqlalchemy.ext.asyncio import AsyncSession

from gateway.budgets import holds
from gateway.db.driver import driver_of
from gateway.db.tables import FineTuningJobRow
from gateway.fine_tuning import estimates, repository
from gateway.fine_tuning.runner import job_directory
from gateway.fine_tuning.trained import Trained, trained_in
from gateway.fine_tuning.transitions import ENDED
from gateway.kit.clock import now
from gateway.kit.money import format_usd, usd_from_nano
from gateway.metering.charges import Charge, Charged, charged, post_charge
from gateway.metering.cost import Cost
from gateway.metering.price_book import PriceBook
from gateway.metering.training import Rates, rates_of, training_cost
from gateway.services import WorkerServices


async def trained_so_far(wv: WorkerServices, job_id: str) -> Trained:
    return await asyncio.to_thread(trained_in, job_directory(wv.settings.data_dir, job_id))


async def charge_job(wv: WorkerServices, job_id: str) -> None:
    """In a transaction of its own. Raises Unavailable."""
    trained = await trained_so_far(wv, job_id)
    async with wv.database.session() as session:
        await charge_training(wv, session, job_id, trained)


async def charge_training(wv: WorkerServices, session: AsyncSession, job_id: str, trained: Trained) -> None:
    """Charge what is new of `trained`, and give back what is held of budgets. It comes last in its transaction: budgets
    are what most others wait for. A job that goes on is charged once it stops."""
    job = await session.get(FineTuningJobRow, job_id, with_for_update=True, populate_existing=True)
    if job is None or job.status not in (*ENDED, "paused"):
        return  # another worker goes on with it
    before = await charged(session, job_id)
    tokens = max(0, trained.tokens - before.tokens)
    device_ms = max(0, trained.ms * await devices_of(wv, session) - before.device_ms)
    cost = await _cost(wv, session, job, tokens, device_ms)
    _show(job, before, cost)
    if tokens or device_ms:
        charge = Charge(
            job_id=job.id,
            created_at=job.started_at or now(),
            project_id=job.project_id,
            api_key_id=job.api_key_id,
            model=job.model,
            tokens=tokens,
            device_ms=device_ms,
            cost=cost,
        )
        await _tell(session, job, charge, before.charges + 1)
        await post_charge(session, wv.ledger, charge, before.charges + 1)
    await holds.release(session, job_id)


async def training_rates(wv: WorkerServices, session: AsyncSession, job: FineTuningJobRow) -> Rates:
    """Those of when its training began, or of now."""
    book = PriceBook(wv.settings.prices)
    await book.load(await driver_of(session))
    began = (job.started_at or now()).timestamp()
    fallback = wv.settings.fine_tuning.usd_per_hour
    return rates_of(book, job.model, wv.settings.engine.model, began, usd_per_hour=fallback)


async def _cost(
    wv: WorkerServices, session: AsyncSession, job: FineTuningJobRow, tokens: int, device_ms: int
) -> Cost | None:
    rates = await training_rates(wv, session, job)
    return training_cost(tokens, device_ms, rates) if rates.known else None


async def devices_of(wv: WorkerServices, session: AsyncSession) -> int:
    """That train one job together."""
    devices = wv.settings.fine_tuning.devices
    return len(devices[0].split(",")) if devices else await estimates.device_count(session)


def _show(job: FineTuningJobRow, before: Charged, cost: Cost | None) -> None:
    """What the whole job cost, beside the other numbers that were measured."""
    if job.actual is not None and (cost or before.priced):
        total = before.cost_nano + (cost.total if cost else 0)
        job.actual = job.actual | {"cost_usd": usd_from_nano(total)}


async def _tell(session: AsyncSession, job: FineTuningJobRow, charge: Charge, number: int) -> None:
    """A job that has succeeded shows its cost; of others it is an event."""
    if charge.cost is None or job.status == "succeeded":
        return
    seconds = charge.device_ms / 1000
    message = f"Charged ${format_usd(charge.cost.total)} for {charge.tokens:,} trained tokens and {seconds:,.1f} s"
    values = {"cost_usd": usd_from_nano(charge.cost.total), "trained_tokens": charge.tokens, "device_seconds": seconds}
    await repository.add_event(session, job.id, f"charge-{number}", f"{message} on devices", values=values)
