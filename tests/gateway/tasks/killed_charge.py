"""`python -m tests.gateway.tasks.killed_charge JOB_ID`: charges a job, and is killed before the transaction ends."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from gateway.budgets import holds
from gateway.services import worker_services
from gateway.settings import load
from gateway.tasks.charge_training import charge_job


async def die(*_: object) -> None:
    """In place of the last statement of a charge."""
    os.kill(os.getpid(), signal.SIGKILL)


async def main(config: Path, job_id: str) -> None:
    async with worker_services(load(config)) as wv:
        await charge_job(wv, job_id)


if __name__ == "__main__":
    holds.release = die
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
