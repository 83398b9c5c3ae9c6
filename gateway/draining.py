"""The process that brings this one's exchange log to the database (gateway/drain_process.py): started, heard, started again.

In this process it would take a third of the time that calls have. What it says keeps the spool's size right. It ends with
this process, after the last drain; when this process is killed, it drains what is left and ends too.
"""

import asyncio
import logging
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec

from gateway.errors import Unavailable
from gateway.exchanges.drain import Drain
from gateway.exchanges.followed import Begin, Told
from gateway.exchanges.spool import Spool
from gateway.kit.background import Background
from gateway.settings import child_environment

log = logging.getLogger(__name__)

COMMAND = (sys.executable, "-m", "gateway.drain_process")
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
"""Before a process that ended is started again: twice as long each time, until one has done something."""
LAST_SECONDS = 15.0
"""For the last drain; longer than that, and it is killed: the next process adopts what is left."""
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
_decode = msgspec.json.Decoder(Told).decode


class Draining:
    """Of one spool.

    Args:
        begin: what the process is told first, given what the database has of each segment.
        inside: does in this process what the other one could not.
    """

    def __init__(
        self,
        spool: Spool,
        begin: Callable[[dict[str, int]], Begin],
        inside: Drain,
        *,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self._spool = spool
        self._begin = begin
        self._inside = inside
        self._command = command
        self._background = Background()  # its own: it goes on while the last calls are recorded
        self._process: Process | None = None
        self._keeping: asyncio.Task[int | None] | None = None
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        """What `drain` waits for: until so many bytes are drained."""
        self._pause = FIRST_PAUSE_SECONDS
        self._failing = False
        self._ending = asyncio.Event()
        self.starts = 0
        """Processes ever; one, as long as all is well."""

    def start(self) -> None:
        """Keep the process going until `close`."""
        self._keeping = self._background.spawn(self._keep(), "keep the exchange log's process")

    async def drain(self) -> None:
        """Once the database has everything that was appended before this call.

        Raises:
            Unavailable: it did not come to it.
        """
        if not self._spool.size:
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((self._spool.appended, done))
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(b"\n")
        await done

    async def close(self) -> None:
        """The last drain; where it does not come to its end, the next process does what is left."""
        self._ending.set()
        self._spool.end()
        status = await self._last()
        self._give_up("the gateway ends")
        if status == 0:
            self._spool.close(leave=True)  # the other process has removed it, or could not
        else:
            log.error("the exchange log's process ended with status %s; its work is done here", status)
            await self._inside.close()

    async def _last(self) -> int | None:
        """Its exit status; None where none ran."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        if self._keeping is None:
            return None
        done, _ = await asyncio.wait({self._keeping}, timeout=LAST_SECONDS)
        if done:
            return self._keeping.result()
        log.warning("left to the next process: the exchange log in %s", self._spool.directory)
        self._keeping.cancel()
        await asyncio.wait({self._keeping})
        return 0

    async def _keep(self) -> int | None:
        """One process after the other; how the last one ended."""
        status: int | None = None
        while not self._ending.is_set():
            status = None
            try:
                status = await self._serve()
            except (OSError, ValueError) as error:
                log.error("the exchange log's process cannot be started, or be understood: %s", error)
            self._process = None
            self._forget_removed()
            if not self._ending.is_set():
                log.error("the exchange log's process ended with status %s", status)
                self._give_up("its process ended")
                status = await self._rest()
        return status

    def _forget_removed(self) -> None:
        """A process may die between removing a segment, of which it has told that all is drained, and telling so. The last
        segment is removed at the end only."""
        ended = [each for each in self._spool.segments if each.sealed or self._ending.is_set()]
        for segment in [each for each in ended if not each.path.exists()]:
            self._spool.gone(segment)

    async def _rest(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._pause):
                await self._ending.wait()
        self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)

    async def _serve(self) -> int:
        """How it ended. Raises OSError, ValueError: there is none, or it says what it should not."""
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=PIPE,
            stdout=PIPE,
            env=child_environment() | ENVIRONMENT,
            pass_fds=(self._spool.lock_file,),
        )
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self.starts += 1
        offsets = {each.path.name: each.offset for each in self._spool.segments}
        process.stdin.write(msgspec.json.encode(self._begin(offsets)) + b"\n")
        if self._ending.is_set():
            process.stdin.close()
        try:
            async for line in process.stdout:
                self._hear(_decode(line))
            return await process.wait()
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()

    def _hear(self, told: Told) -> None:
        if told.failed:
            if not self._failing:
                log.warning("the exchange log waits for the database: %s", told.failed)
            self._failing = True
            self._give_up(told.failed)
            return
        if self._failing:
            log.warning("the exchange log reaches the database again")
        self._failing, self._pause = False, FIRST_PAUSE_SECONDS
        for segment in [each for each in self._spool.segments if each.path.name == told.segment]:
            self._spool.drained(segment, told.offset)
            if told.gone:
                self._spool.gone(segment)
        self._wake()

    def _wake(self) -> None:
        drained = self._spool.appended - self._spool.size
        for each in [each for each in self._waiting if each[0] <= drained]:
            self._waiting.remove(each)
            if not each[1].done():
                each[1].set_result(None)

    def _give_up(self, why: str) -> None:
        waiting, self._waiting = self._waiting, []
        for _, done in waiting:
            if not done.done():
                done.set_exception(Unavailable(f"The exchange log could not be brought to the database: {why}."))
