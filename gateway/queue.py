"""Background tasks through arq; the only module that knows it (docs/decisions/0004-arq-behind-one-module.md).

Arguments and results travel as msgpack, never pickled. A task may run twice (a worker died, a job was handed over), so
every task must be harmless when repeated; what must happen exactly once is decided by PostgreSQL, not by the queue.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec
from arq import ArqRedis, Worker, create_pool, func
from arq.connections import RedisSettings
from redis.asyncio.client import Pipeline
from redis.exceptions import RedisError

from gateway.errors import Unavailable

log = logging.getLogger(__name__)

NAME = "tuneway:tasks"
HEALTH_KEY = f"{NAME}:health"
"""arq's worker writes it every few seconds; its absence means that no worker lives."""

_encode = msgspec.msgpack.Encoder(enc_hook=repr).encode


def serialize(job: dict[str, Any]) -> bytes:
    """`enc_hook=repr` keeps the text of a failed task's exception, which msgpack alone would lose."""
    return _encode(job)


def deserialize(payload: bytes) -> dict[str, Any]:
    return msgspec.msgpack.decode(payload)


HEALTH_SECONDS = 2
POLL_SECONDS = 0.05
"""How often a worker looks for tasks: a call may wait for a model that a task loads."""
TASK_SECONDS = 3600
"""Tasks are short (training runs beside them); one that takes an hour is stuck."""
MAX_TRIES = 3
CONCURRENCY = 10
CONNECT_TRIES = 30
ANSWER_SECONDS = 5.0
"""A caller that waits for the queue is answered after this long; a Redis that hangs counts as away."""


def redis_settings(url: str) -> RedisSettings:
    """Settings for arq that give up soon: a caller waits for the answer."""
    settings = RedisSettings.from_dsn(url)
    settings.conn_timeout, settings.conn_retries = 2, 0
    return settings


class Queue:
    """Puts tasks on the queue; connects at first use, so that the gateway starts while Redis is away."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool: ArqRedis | None = None
        self._connecting = asyncio.Lock()
        self._one_at_a_time = asyncio.Lock()

    async def enqueue(self, name: str, *arguments: str, unique: str | None = None) -> None:
        """Ask a worker to run the task `name`; with `unique`, not while one of that id is queued or running.

        Raises:
            Unavailable: Redis cannot be reached.
        """
        await self._call("enqueue_job", name, *arguments, _job_id=unique)

    async def ping(self) -> None:
        """Raises Unavailable when Redis does not answer."""
        await self._call("ping")

    async def worker_alive(self) -> bool:
        """Whether a worker gave a sign of life lately. Raises Unavailable."""
        return bool(await self._call("exists", HEALTH_KEY))

    async def close(self) -> None:
        if self._pool:
            await self._pool.aclose()

    async def _call(self, method: str, *arguments: Any, **options: Any) -> Any:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                pool = await self._connected()
                return await getattr(pool, method)(*arguments, **options)
        except (OSError, TimeoutError, RedisError) as error:
            raise Unavailable("The task queue (Redis) cannot be reached right now; please retry.") from error

    async def _connected(self) -> ArqRedis:
        async with self._connecting:
            if self._pool is None:
                self._pool = await create_pool(
                    redis_settings(self._url),
                    job_serializer=serialize,
                    job_deserializer=deserialize,
                    default_queue_name=NAME,
                )
            return self._pool


Task = Callable[..., Awaitable[None]]
"""Takes the worker's services, then the strings it was enqueued with."""


async def work(url: str, tasks: Mapping[str, Task], services: Any, *, tries: int = CONNECT_TRIES) -> None:
    """Run tasks from the queue until cancelled; waits a second a try for Redis while it is away.

    What is not on the queue (trainings, rounds) goes on meanwhile.

    Raises:
        Unavailable: Redis stayed away for all tries; the supervisor starts the worker again.
    """
    settings = RedisSettings.from_dsn(url)
    settings.conn_retries, settings.conn_retry_delay = tries, 1
    while True:
        try:
            pool = await create_pool(
                settings, job_serializer=serialize, job_deserializer=deserialize, default_queue_name=NAME
            )
        except (OSError, RedisError) as error:
            raise Unavailable(f"Redis cannot be reached: {error}") from error
        pool.pipeline = _pipelines_of(pool)
        try:
            await _work(pool, tasks, services)
        except (OSError, RedisError) as error:
            log.warning("Redis is away, tasks wait: %s", error)


class _Pipeline(Pipeline):
    """Lets its connection go even when it is cancelled amid the tidying up; the pool, closed next, closes that one too.

    redis-py keeps it then, so that a worker's stop would end with a warning about an unclosed client.
    """

    async def reset(self) -> None:
        try:
            await super().reset()
        finally:
            self.connection = None


def _pipelines_of(pool: ArqRedis) -> Callable[..., Pipeline]:
    connections: Any = pool.connection_pool
    return lambda transaction=True, shard_hint=None: _Pipeline(
        connections, pool.response_callbacks, transaction, shard_hint
    )


class _Worker(Worker):
    """Knows what it still tells Redis: arq shields that from a cancellation and then forgets it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._told_by: set[asyncio.Task[Any]] = set()

    async def finish_job(self, *arguments: Any, **options: Any) -> None:
        with self._telling():
            await super().finish_job(*arguments, **options)

    async def finish_failed_job(self, *arguments: Any, **options: Any) -> None:
        with self._telling():
            await super().finish_failed_job(*arguments, **options)

    @contextmanager
    def _telling(self) -> Generator[None]:
        task = asyncio.current_task()
        assert task is not None
        self._told_by.add(task)
        try:
            yield
        finally:
            self._told_by.discard(task)

    async def told(self) -> None:
        """Wait until no task runs and Redis knows of those that ended."""
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)
        await asyncio.gather(*self._told_by, return_exceptions=True)


async def _work(pool: ArqRedis, tasks: Mapping[str, Task], services: Any) -> None:
    worker = _Worker(
        functions=[func(_adapted(task), name=name, max_tries=MAX_TRIES) for name, task in tasks.items()],
        queue_name=NAME,
        redis_pool=pool,
        ctx={"services": services},
        health_check_key=HEALTH_KEY,
        health_check_interval=HEALTH_SECONDS,
        job_timeout=TASK_SECONDS,
        job_serializer=serialize,
        job_deserializer=deserialize,
        keep_result=0,
        max_jobs=CONCURRENCY,
        poll_delay=POLL_SECONDS,
        handle_signals=False,
    )
    try:
        await worker.async_run()
    finally:
        await _close(worker, pool)


async def _close(worker: _Worker, pool: ArqRedis) -> None:
    """Cancel what runs; it stays on the queue. Redis may be away by now."""
    pool.close = pool.aclose  # arq calls it by its deprecated name
    try:
        await worker.close()
    except (OSError, RedisError, asyncio.CancelledError) as error:
        log.info("tasks are given up: %r", error)
    finally:
        await worker.told()
        await pool.aclose()


def _adapted(task: Task) -> Any:
    """arq hands its context over; a task wants the services in it."""

    async def run(context: dict[str, Any], *arguments: str) -> None:
        await task(context["services"], *arguments)

    return run
