"""A worker tells, once after its start, what its machine trains on: estimates need it."""

import asyncio
import logging
import platform

from gateway.errors import Unavailable
from gateway.fine_tuning import estimates
from gateway.fine_tuning.programs import NoAnswer, answer_of
from gateway.services import WorkerServices
from gateway.tasks.estimate_job import estimate_waiting_jobs
from gateway.tasks.pauses import PAUSES, Pauses
from trainer.contract import decode_hardware

log = logging.getLogger(__name__)

PROGRAM = "trainer.describe_hardware"
SECONDS = 300.0
"""The first import of torch from a cold disk takes a while."""


async def report_hardware(wv: WorkerServices, pauses: Pauses = PAUSES) -> None:
    """Harmless when repeated. A database that is away is waited for, because nobody asks a second time."""
    try:
        described = decode_hardware(await answer_of(PROGRAM, seconds=SECONDS))
    except NoAnswer as reason:
        log.warning("no estimates from this worker: %s", reason)
        return
    while True:
        try:
            async with wv.database.session() as session:
                await estimates.save_hardware(session, platform.node(), described)
            await estimate_waiting_jobs(wv)
            return
        except Unavailable:
            await asyncio.sleep(pauses.load)
