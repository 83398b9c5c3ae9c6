"""Work in a thread, bounded by the CPU time that it takes: that a machine has other things to do is no fault of the work."""

import asyncio
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

LOOK_SECONDS = 0.5
"""Between two looks at how much a thread has taken."""
Result = TypeVar("Result")
Clock = Callable[[], float]


async def in_cpu_time(work: Callable[[], Result], seconds: float) -> Result:
    """What `work` returns. It may wait for a thread, and its thread for a CPU, for as long as that takes.

    Raises:
        TimeoutError: it took more CPU time than `seconds`. No thread can be ended: it goes on, and nobody hears of it.
    """
    spent: list[Clock] = []
    begun = asyncio.ensure_future(asyncio.to_thread(lambda: _timed(work, spent)))
    try:
        while not (await asyncio.wait({begun}, timeout=LOOK_SECONDS))[0]:
            if spent and spent[0]() > seconds:
                raise TimeoutError
        return begun.result()
    finally:
        begun.cancel()


def _timed(work: Callable[[], Result], spent: list[Clock]) -> Result:
    clock = _own_clock()
    began = clock()
    spent.append(lambda: clock() - began)
    return work()


def _own_clock() -> Clock:
    """The CPU seconds of this thread, for others to read; where a system does not tell them (macOS), seconds."""
    if not hasattr(time, "pthread_getcpuclockid"):
        return time.monotonic
    return partial(time.clock_gettime, time.pthread_getcpuclockid(threading.get_ident()))
