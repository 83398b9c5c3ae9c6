"""Writes to many connections, together."""

import asyncio
import logging
from collections.abc import Callable

log = logging.getLogger(__name__)


class Outbox:
    """What is said in one turn of the event loop is written behind it, all at a time.

    Of a write to a socket nothing costs as much as waking who waits at its other end. Where many calls are under way it is
    then woken once for all of them, and not by each; where there is one, it hears of it as soon as we wait for something.
    """

    def __init__(self) -> None:
        self._writes: list[Callable[[], object]] = []

    def add(self, write: Callable[[], object]) -> None:
        """To be called on the event loop."""
        if not self._writes:
            asyncio.get_running_loop().call_soon(self._send)
        self._writes.append(write)

    def _send(self) -> None:
        writes, self._writes = self._writes, []
        for write in writes:
            try:
                write()
            except Exception:
                log.exception("a write broke")  # the others are other people's
