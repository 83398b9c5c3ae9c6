"""Hearing of SIGTERM beside a server that handles it."""

import asyncio
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any

STOP = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def when_told_to_stop(act: Callable[[], object]) -> Generator[None]:
    """Call `act` on the running loop at the first SIGTERM or SIGINT; whoever handled the signal still does.

    An ASGI server tells its application of a shutdown only when the last request has ended (lifespan), which is too
    late to end requests that take too long. Outside the main thread, where Python hears no signals, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    previous: dict[signal.Signals, Any] = {number: signal.getsignal(number) for number in STOP}
    told = False

    def hear(number: int, frame: FrameType | None) -> None:
        nonlocal told
        if not told:
            told = True
            loop.call_soon_threadsafe(act)
        handler = previous[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)
        elif handler == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    for number in STOP:
        signal.signal(number, hear)
    try:
        yield
    finally:
        for number, handler in previous.items():
            if signal.getsignal(number) is hear:
                signal.signal(number, handler)
