"""Background work that is neither lost on an exception nor forgotten at shutdown."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

log = logging.getLogger(__name__)


class Background:
    """Owns asyncio tasks: keeps them referenced, logs what they raise, cancels or awaits them at the end."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run `work` on its own; an exception is logged under `name`."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def repeat(self, work: Callable[[], Awaitable[object]], seconds: float, name: str) -> asyncio.Task[Any]:
        """Run `work` now and then `seconds` after each end. A failure is logged once per streak and tried again."""
        return self.spawn(_repeat(work, seconds, name), name)

    async def close(self) -> None:
        """Cancel what still runs and wait until all of it has ended."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background work %s failed", task.get_name(), exc_info=error)


async def _repeat(work: Callable[[], Awaitable[object]], seconds: float, name: str) -> None:
    failing = False
    while True:
        try:
            await work()
            if _told_to_end():
                raise asyncio.CancelledError
            if failing:
                log.warning("%s works again", name)
            failing = False
        except Exception as error:
            if _told_to_end():
                raise asyncio.CancelledError from error
            if not failing:
                log.warning("%s failed, will be tried again every %s s: %s", name, seconds, error or repr(error))
            failing = True
        await asyncio.sleep(seconds)


def _told_to_end() -> bool:
    """A cancellation amid a transaction may come out as an error of the database instead; and `asyncio.wait_for` of Python 3.11,
    in whatever library, loses one that comes together with what it waits for (gh-86296)."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
