"""Runs the worker: tasks from the queue, and the rounds that need no message."""

import asyncio
import logging

from gateway import queue
from gateway.errors import Unavailable
from gateway.services import worker_services
from gateway.settings import Settings
from gateway.tasks.reconcile_adapters import reconcile_adapters
from gateway.tasks.resume_fine_tuning_jobs import resume_fine_tuning_jobs
from gateway.tasks.validate_fine_tuning_job import validate_fine_tuning_job

log = logging.getLogger(__name__)

TASKS = {"validate_fine_tuning_job": validate_fine_tuning_job}
ROUND_SECONDS = 2.0


def run(settings: Settings) -> int:
    """Work until SIGTERM or SIGINT; the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        asyncio.run(_run(settings))
    except Unavailable as away:
        log.error("%s", away)
        return 1
    return 0


async def _run(settings: Settings) -> None:
    async with worker_services(settings) as wv:
        wv.background.repeat(lambda: reconcile_adapters(wv), ROUND_SECONDS, "reconcile adapters")
        wv.background.repeat(lambda: resume_fine_tuning_jobs(wv), ROUND_SECONDS, "take up fine-tuning jobs")
        await queue.work(settings.redis.url, TASKS, wv)
