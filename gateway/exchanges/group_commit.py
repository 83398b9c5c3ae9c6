"""Group commit: many wait, and one call of the disk serves all of them."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from gateway.errors import Unavailable

GATHER_SECONDS = 0.002
"""How long more may come before the disk is asked: it takes longer itself."""
FAILED = "The exchange log cannot be brought to the disk, so this call was not answered."


class GroupCommit:
    """Waits for the disk in a thread of its own.

    Args:
        prepare: what has to be done for all that waits now; called on the event loop, the work in the thread. Both
            raise OSError.
        failed: told of a failure before anybody else is.
    """

    def __init__(self, prepare: Callable[[], Callable[[], None]], failed: Callable[[OSError], object]) -> None:
        self._prepare = prepare
        self._failed = failed
        self._waiting: list[asyncio.Future[None]] = []
        self._rounds: asyncio.Task[None] | None = None
        self._thread: ThreadPoolExecutor | None = None

    async def wait(self) -> None:
        """Raises Unavailable: the disk failed."""
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[None] = loop.create_future()
        self._waiting.append(waiting)
        if self._rounds is None or self._rounds.done():
            self._thread = self._thread or ThreadPoolExecutor(1, "exchange log")
            self._rounds = loop.create_task(self._run(self._thread), name="bring the exchange log to the disk")
        await waiting

    def close(self) -> None:
        if self._thread is not None:
            self._thread.shutdown()

    async def _run(self, thread: ThreadPoolExecutor) -> None:
        while self._waiting:
            await asyncio.sleep(GATHER_SECONDS)
            waiting, self._waiting = self._waiting, []
            failure: Unavailable | None = None
            try:
                await asyncio.get_running_loop().run_in_executor(thread, self._prepare())
            except (OSError, RuntimeError) as error:  # the latter: the spool has ended
                if isinstance(error, OSError):
                    self._failed(error)
                failure = Unavailable(FAILED)
                failure.__cause__ = error
                # What was appended meanwhile is in the same file, of which the kernel tells a failure once.
                waiting, self._waiting = [*waiting, *self._waiting], []
            for each in waiting:
                if not each.done():
                    each.set_result(None) if failure is None else each.set_exception(failure)
