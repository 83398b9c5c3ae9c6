"""One event loop for the tests of a process, one after the other, so that connections may outlive a test.

Each test begins and ends as with a loop of its own (`asyncio.Runner`): its tasks are cancelled, its generators closed, its
threads joined, its timers forgotten. What stays is the loop itself, and whatever is attached to it and idle.
"""

import asyncio
from functools import cache


class KeptLoop(asyncio.SelectorEventLoop):
    def close(self) -> None:
        """Not yet: another test follows. What this one has left for later never comes, as with a loop that is closed."""
        self._scheduled.clear()
        self._timer_cancelled_count = 0

    def end(self) -> None:
        super().close()

    async def shutdown_asyncgens(self) -> None:
        await super().shutdown_asyncgens()
        self._asyncgens_shutdown_called = False

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        await super().shutdown_default_executor()
        self._executor_shutdown_called = False
        self._default_executor = None


@cache
def kept_loop() -> KeptLoop:
    return KeptLoop()


def is_kept() -> bool:
    """This is running on it."""
    try:
        return isinstance(asyncio.get_running_loop(), KeptLoop)
    except RuntimeError:
        return False
