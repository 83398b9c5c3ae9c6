"""Train whatever waits, project by project in turn (gateway/fine_tuning/turns.py), until nothing does.

A job belongs to the worker whose lease on it runs (gateway/fine_tuning/claims.py). The lease is extended while the
trainer works; a worker that dies loses it, and the next one goes on from the last checkpoint.
"""

import asyncio
import errno
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from gateway.errors import Unavailable
from gateway.fine_tuning import service
from gateway.fine_tuning.lease import Lease, to_its_end
from gateway.fine_tuning.positions import tell_positions
from gateway.fine_tuning.restarts import Crashed
from gateway.fine_tuning.runner import Run, Stopped, job_directory
from gateway.fine_tuning.service import Failure
from gateway.services import WorkerServices
from gateway.tasks import share_device
from gateway.tasks.begin_training import begin_training, check_job_directory
from gateway.tasks.charge_training import charge_training, trained_so_far
from gateway.tasks.fund_training import Funds
from gateway.tasks.pauses import PAUSES, Pauses
from gateway.tasks.publish_models import publish_model
from gateway.tasks.record_results import record_results
from gateway.tasks.restart_training import restart_training
from gateway.tasks.settle_fine_tuning_jobs import settle
from gateway.tasks.training_events import store_events
from trainer.contract import Failed, Succeeded

log = logging.getLogger(__name__)


async def train_fine_tuning_jobs(wv: WorkerServices, pauses: Pauses = PAUSES) -> None:
    """Claim and train jobs on a device that is free; without one, tell those that wait their place."""
    try:
        if wv.training.locked():
            await to_its_end(_tell_positions(wv))
            return  # whoever holds a device looks again before it lets go, and the worker's next round does for sure
        async with _device(wv) as device:
            while (lease := _lease(wv, pauses)) and await _take_next(lease):
                wv.background.spawn(train_fine_tuning_jobs(wv, pauses), "train")  # on another device, perhaps
                await _train(wv, lease, device, pauses)
    except Unavailable as away:
        log.warning("fine-tuning jobs wait: %s", away)


@asynccontextmanager
async def _device(wv: WorkerServices) -> AsyncGenerator[str]:
    async with wv.training:
        device = wv.devices.popleft()
        try:
            yield device
        finally:
            wv.devices.append(device)


def _lease(wv: WorkerServices, pauses: Pauses) -> Lease:
    return Lease(wv.database, wv.settings.fine_tuning.lease_seconds, poll_seconds=pauses.poll)


async def _tell_positions(wv: WorkerServices) -> None:
    async with wv.database.session() as session:
        await tell_positions(session)


async def _take_next(lease: Lease) -> bool:
    """A worker that is stopped in this moment does not keep what it just took."""
    try:
        return await to_its_end(lease.take_next())
    except asyncio.CancelledError:
        if lease.job_id:
            await to_its_end(lease.give_back())
        raise


async def _train(wv: WorkerServices, lease: Lease, device: str, pauses: Pauses) -> None:
    """One job, from claimed to ended or paused; or given back, when this worker is stopped or the database goes away.

    Raises:
        Unavailable: the database stayed away for longer than the lease.
    """
    directory = job_directory(wv.settings.data_dir, lease.job_id)
    run = Run(directory, wv.settings.fine_tuning.command, device=device, stop_seconds=pauses.stop)
    keeping = asyncio.ensure_future(lease.keep())
    stopping = asyncio.ensure_future(_stop_when_lost(lease, run))
    try:
        await _until_the_end(wv, lease, run, pauses)
    finally:
        await to_its_end(_leave(wv, lease, run, keeping, stopping), seconds=None)


async def _until_the_end(wv: WorkerServices, lease: Lease, run: Run, pauses: Pauses) -> None:
    """Raises Unavailable."""
    try:
        await _run(wv, lease, run, pauses)
    except Stopped:
        log.info("training of %s stopped", lease.job_id)
    except Failure as failure:
        await _fail(wv, lease, failure)
    except Unavailable:
        raise
    except Exception as error:
        log.exception("training of %s broke", lease.job_id)
        await _fail(wv, lease, _explained(error))


async def _run(wv: WorkerServices, lease: Lease, run: Run, pauses: Pauses) -> None:
    """Raises Stopped, Failure, Unavailable, OSError."""
    job, spec = await begin_training(wv, lease, run)
    if not run.has_succeeded():
        await share_device.put_to_sleep(wv, job.id)
    funds = await Funds.of(wv, lease, job)
    async with funds.watched(pauses.budgets):
        while True:
            await run.start(spec)
            async for batch in run.events():
                await store_events(wv, lease, job, batch, pauses)
                await funds.cover(batch)
            try:
                result = run.result()
                break
            except Crashed as crashed:
                check_job_directory(job, run.directory)
                spec = await restart_training(wv, lease, crashed, spec)
    await share_device.wake(wv, job.id)
    if lease.lost.is_set():
        raise Stopped
    match result:
        case Failed(code=code, message=message, param=param):
            raise Failure(code, message, param)
        case Succeeded():
            await record_results(wv, lease, result, pauses)
            await publish_model(wv, lease, job, run.directory, result, pauses)


def _explained(error: Exception) -> Failure:
    """What the job's owner may read of a surprise; the log says all."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Failure("server_error", "The server's disk is full. Create the job again once there is space.")
    return Failure("server_error", "The job failed due to an internal error; create it again.")


async def _leave(
    wv: WorkerServices, lease: Lease, run: Run, keeping: asyncio.Future[None], stopping: asyncio.Future[None]
) -> None:
    """The trainer has ended, then the job's directory is tidied up, then the next worker may have the job."""
    await run.stopped()
    await share_device.wake(wv, lease.job_id)
    try:
        await settle(wv, lease.job_id)
    except Unavailable:
        log.warning("%s is settled later: the database is away", lease.job_id)
    finally:
        await lease.give_back()
        await asyncio.gather(keeping, stopping)


async def _stop_when_lost(lease: Lease, run: Run) -> None:
    """Once the work must stop the trainer is stopped, and killed if it does not listen."""
    await lease.lost.wait()
    await run.stopped()


async def _fail(wv: WorkerServices, lease: Lease, failure: Failure) -> None:
    """And charge for what it came to, in the same transaction."""
    trained = await trained_so_far(wv, lease.job_id)
    async with wv.database.session() as session:
        await service.fail(session, lease.job_id, failure, holder=lease.holder)
        await charge_training(wv, session, lease.job_id, trained)
