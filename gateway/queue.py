"""Background tasks through arq; the only module that knows it (docs/decisions/0004-arq-behind-one-module.md).

Arguments and results travel as msgpack, never pickled. A task may run twice (a worker died, a job was handed over), so
every task must be harmless when repeated; what must happen exactly once is decided by PostgreSQL, not by the queue.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from arq import ArqRedis, Worker, create_pool, func
from arq.connections import RedisSettings
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
TASK_SECONDS = 3600
"""Tasks are short (training runs beside them); one that takes an hour is stuck."""
MAX_TRIES = 3
CONCURRENCY = 10
CONNECT_TRIES = 30


def redis_settings(url: str) -> RedisSettings:
    """Settings for arq that give up soon: a caller waits for the answer."""
    settings = RedisSettings.from_dsn(url)
    settings.conn_timeout, settings.conn_retries, settings.conn_retry_delay = 2, 1, 1
    return settings


class Queue:
    """Puts tasks on the queue; connects at first use, so that the gateway starts while Redis is away."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool: ArqRedis | None = None
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
            return await getattr(await self._connected(), method)(*arguments, **options)
        except (OSError, TimeoutError, RedisError) as error:
            raise Unavailable("The task queue (Redis) cannot be reached right now; please retry.") from error

    async def _connected(self) -> ArqRedis:
        async with self._one_at_a_time:  # two first uses at once share one pool
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


async def work(url: str, tasks: Mapping[str, Task], services: Any) -> None:
    """Run tasks from the queue until SIGTERM or SIGINT; waits for Redis while it is away.

    Raises:
        Unavailable: Redis stayed away too long; the supervisor starts the worker again.
    """
    settings = RedisSettings.from_dsn(url)
    settings.conn_retries, settings.conn_retry_delay = CONNECT_TRIES, 1
    worker = Worker(
        functions=[func(_adapted(task), name=name, max_tries=MAX_TRIES) for name, task in tasks.items()],
        queue_name=NAME,
        redis_settings=settings,
        ctx={"services": services},
        health_check_key=HEALTH_KEY,
        health_check_interval=HEALTH_SECONDS,
        job_timeout=TASK_SECONDS,
        job_serializer=serialize,
        job_deserializer=deserialize,
        keep_result=0,
        max_jobs=CONCURRENCY,
    )
    try:
        await worker.async_run()
    except asyncio.CancelledError:
        log.info("worker stops")
    except (OSError, RedisError) as error:
        raise Unavailable(f"Redis cannot be reached: {error}") from error
    finally:
        await worker.close()


def _adapted(task: Task) -> Any:
    """arq hands its context over; a task wants the services in it."""

    async def run(context: dict[str, Any], *arguments: str) -> None:
        await task(context["services"], *arguments)

    return run
