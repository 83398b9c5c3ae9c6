"""A worker's hold on one job.

The row names the holder and the time until which it is held. The worker extends it again and again; one that dies, or
that cannot reach the database for that long, has lost it, and the next worker takes the job.
"""

import asyncio
import logging
import secrets
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from gateway.db.database import Database
from gateway.errors import Unavailable
from gateway.fine_tuning import claims

log = logging.getLogger(__name__)

Result = TypeVar("Result")

POLL_SECONDS = 0.5
"""A job that is cancelled or paused is noticed within this time."""
QUERY_SECONDS = 3.0
"""A query that is on its way has this long to end when its caller is stopped."""


class Lease:
    """One hold of one worker. A second hold on the same job, by the same process too, is another one."""

    def __init__(self, database: Database, seconds: float, *, poll_seconds: float = POLL_SECONDS) -> None:
        self.holder = secrets.token_hex(8)
        self.job_id = ""
        self.lost = asyncio.Event()
        """Set once the work must stop: the job was cancelled or paused, another worker has it, or the database was away
        for too long."""
        self.statuses: tuple[str, ...] = ()
        """In any other the work must stop."""
        self._over = asyncio.Event()
        self._one_query_at_a_time = asyncio.Lock()
        self._database = database
        self._seconds = seconds
        self._poll_seconds = poll_seconds

    async def take_next(self) -> bool:
        """Take the job whose turn it is; False when there is none. Raises Unavailable."""
        self.statuses = ("queued", "running")
        async with self._database.session() as session:
            self.job_id = await claims.claim(session, self.holder, self._seconds) or ""
        return bool(self.job_id)

    async def take_validation(self, job_id: str) -> bool:
        """Take one job to validate it; False when it has moved on or is being validated. Raises Unavailable."""
        self.job_id, self.statuses = job_id, ("validating_files",)
        async with self._database.session() as session:
            return await claims.claim_validation(session, job_id, self.holder, self._seconds)

    async def take_ended(self, job_id: str) -> bool:
        """Take one job that has ended; False while another worker has it. Raises Unavailable."""
        self.job_id = job_id
        async with self._database.session() as session:
            return await claims.claim_ended(session, job_id, self.holder, self._seconds)

    async def keep(self) -> None:
        """Extend the lease until it is given back, or another worker has it. Also while the work stops: until then the
        job's directory is ours."""
        clock = asyncio.get_running_loop().time
        runs_out = clock() + self._seconds
        while clock() < runs_out and not self._over.is_set():
            asked, statuses = clock(), self.statuses
            try:
                async with asyncio.timeout_at(runs_out):
                    status = await to_its_end(self._extend())
                if status is None:
                    break
                if status not in statuses:
                    self.lost.set()
                runs_out = asked + self._seconds  # the database counts from a later moment
            except (Unavailable, TimeoutError):
                log.warning("the lease of %s cannot be extended right now", self.job_id)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._poll_seconds):
                    await self._over.wait()
        self.lost.set()

    async def _extend(self) -> str | None:
        async with self._one_query_at_a_time, self._database.session() as session:
            return await claims.extend(session, self.job_id, self.holder, self._seconds)

    async def give_back(self) -> None:
        """So that the next worker need not wait for the lease to run out, nor meet a row that is still locked."""
        self._over.set()
        try:
            async with self._one_query_at_a_time, self._database.session() as session:
                await claims.release(session, self.job_id, self.holder)
        except Unavailable:
            log.warning("the lease of %s runs out on its own: the database is away", self.job_id)


async def to_its_end(work: Coroutine[Any, Any, Result], seconds: float | None = QUERY_SECONDS) -> Result:
    """A cancelled task waits for what it began: a connection that is cut off while it opens is never closed, and work
    that goes on alone finds a database that is closed. None: however long it takes."""
    begun = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(begun)
    except asyncio.CancelledError:
        await asyncio.wait({begun}, timeout=seconds)
        begun.cancel()
        raise
