"""A worker in the test's own process: the queue's tasks, and rounds at the test's pace."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import redis.asyncio

from deploy.worker import TASKS
from gateway import queue
from gateway.services import WorkerServices
from gateway.tasks.reconcile_adapters import watch_replica
from tests.fakes.fine_tuning import until


@asynccontextmanager
async def working(wv: WorkerServices, *, round_seconds: float | None = None) -> AsyncIterator[None]:
    """Tasks are run until the block ends; with `round_seconds` replicas are watched, too."""
    client: Any = redis.asyncio.Redis.from_url(wv.settings.redis.url)
    await client.flushdb()
    await client.aclose()
    work = [queue.work(wv.settings.redis.url, TASKS, wv)]
    if round_seconds:
        work += [watch_replica(wv, url, round_seconds) for url in wv.settings.engine.urls]
    running = [asyncio.ensure_future(each) for each in work]
    asking = queue.Queue(wv.settings.redis.url)
    try:
        await until(asking.worker_alive)
        yield
    finally:
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await asking.close()
