"""A worker tells, once after its start, what its machine trains on: estimates need it."""

import asyncio
import logging
import platform
import sys

from gateway.fine_tuning import estimates
from gateway.services import WorkerServices
from gateway.settings import child_environment
from trainer.contract import decode_hardware

log = logging.getLogger(__name__)

PROGRAM = (sys.executable, "-m", "trainer.describe_hardware")
SECONDS = 300.0
"""The first import of torch from a cold disk takes a while."""


async def report_hardware(wv: WorkerServices) -> None:
    """Harmless when repeated. Raises Unavailable: the database is away."""
    process = await asyncio.create_subprocess_exec(
        *PROGRAM,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=child_environment(),
    )
    try:
        async with asyncio.timeout(SECONDS):
            told, complaint = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        log.warning("no estimates from this worker: %s", complaint.decode(errors="replace")[-500:])
        return
    async with wv.database.session() as session:
        await estimates.save_hardware(session, platform.node(), decode_hardware(told))
