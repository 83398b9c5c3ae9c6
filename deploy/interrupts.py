"""What the operator asks for by signals: one SIGINT, SIGTERM or SIGHUP is a stop, another one a hurry."""

import asyncio
import signal
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Interrupts:
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    hurry: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self) -> None:
        (self.hurry if self.stop.is_set() else self.stop).set()

    async def unless_stopped(self, work: Coroutine[Any, Any, None]) -> bool:
        """Run `work`; False when a stop came first and `work` was cancelled. Raises what `work` raises."""
        working = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(self.stop.wait())
        try:
            await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()
            return not self.stop.is_set()
        finally:
            working.cancel()
            stopping.cancel()
            await asyncio.wait((working, stopping))


@contextmanager
def listen() -> Generator[Interrupts]:
    """Install the handlers. A SIGHUP that is ignored (nohup) stays ignored."""
    loop = asyncio.get_running_loop()
    interrupts = Interrupts()
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, interrupts.note)
    try:
        yield interrupts
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
