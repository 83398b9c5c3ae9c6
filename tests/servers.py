"""PostgreSQL and Redis for a test session: the embedded servers of `deploy/`, in a temporary directory.

with start_postgres(tmp / "postgres") as url:  # postgresql+asyncpg://...; the database is empty
    with start_redis(tmp / "redis") as redis_url:  # unix://...
"""

import asyncio
import os
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from deploy.parts import Part, tail
from deploy.postgres import embedded_postgres
from deploy.process import Child
from deploy.redis import embedded_redis


@contextmanager
def start_postgres(directory: Path, *, durable: bool = False) -> Generator[str]:
    """A server with an empty database; yields its SQLAlchemy URL. Not durable unless asked: it is faster."""
    log = directory.with_name(directory.name + ".log")
    with ExitStack() as cleanup:
        server = embedded_postgres(directory, log=log, environment=os.environ, cleanup=cleanup, durable=durable)
        cleanup.enter_context(running(server.part(), log))
        yield server.url


@contextmanager
def start_redis(directory: Path) -> Generator[str]:
    """A server with nothing in it; yields its URL, for redis-py and arq."""
    log = directory.with_name(directory.name + ".log")
    with ExitStack() as cleanup:
        server = embedded_redis(directory, environment=os.environ, cleanup=cleanup)
        cleanup.enter_context(running(server.part(), log))
        yield server.url


@contextmanager
def running(part: Part, log: Path) -> Generator[Child]:
    """Run one part on an event loop of its own, which touches no other."""
    loop = asyncio.new_event_loop()
    try:
        child = loop.run_until_complete(start(part, log))
        try:
            yield child
        finally:
            loop.run_until_complete(child.stop())
    finally:
        loop.close()


async def start(part: Part, log: Path) -> Child:
    """Start one part and wait until it is ready; the caller stops it."""
    if part.prepare is not None:
        await part.prepare()
    child = Child(part.command, log)
    while part.ready is not None and not await part.ready():
        if child.ended:
            raise RuntimeError(f"{part.name} did not start:\n{tail(log)}")
        await asyncio.sleep(0.02)
    return child
