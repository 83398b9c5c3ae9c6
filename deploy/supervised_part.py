"""One part kept running: started, asked until it is ready, started again when it dies."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from deploy.parts import Pace, Part, PartFailed, StackError, last_words
from deploy.parts_file import PartStatus, State
from deploy.process import Child, how_it_ended


class Story(Protocol):
    """Who tells the operator."""

    def ready(self, part: str, seconds: float, *, again: bool) -> None:
        """The part is ready, so many seconds after its start; `again` after a death."""

    def died(self, part: str, how: str, pause: float) -> None:
        """The part died and is started again after `pause` seconds. `how`: `was killed by SIGKILL`."""


class Hopeless(Exception):
    """Another try would end in the same way."""


class SupervisedPart:
    """`started` is set when the part was ready for the first time."""

    def __init__(self, part: Part, *, log: Path, pace: Pace, story: Story, changed: Callable[[], None]) -> None:
        self.part = part
        self.started = asyncio.Event()
        self.status = self._status("stopped", None, 0)
        self._log = log
        self._log_start = 0
        self._pace = pace
        self._story = story
        self._changed = changed
        self._child: Child | None = None
        self._ready_since: float | None = None

    async def keep(self) -> None:
        """Run the part for ever, or until it is done if it runs `once`. Raises PartFailed; cancelling leaves the child."""
        deaths = 0
        while True:
            self._ready_since = None
            hopeless = self.part.once
            try:
                if (how := await self._run()) is None:
                    return
            except Hopeless as error:
                how, hopeless = str(error), True
            deaths = 1 if self._was_healthy() else deaths + 1
            if not self.started.is_set() and (hopeless or deaths >= self._pace.give_up):
                raise self._failure(how, deaths)
            await self._pause(how, deaths)

    async def stop(self, hurry: asyncio.Event) -> None:
        """Stop the child, if there is one. `keep` must have been cancelled."""
        if self._child is not None:
            await self._child.stop(hurry)
        self._note("stopped")

    async def _run(self) -> str | None:
        """One life of the process: how it ended, or None when it did what it had to do `once`."""
        begun = time.monotonic()
        child = await self._begin()
        if self.part.once:
            status = await child.wait()
            if status != 0:
                return how_it_ended(status)
            self._is_ready(begun)
            return self._note("stopped")
        try:
            async with asyncio.timeout(self.part.ready_timeout):
                ready = await self._becomes_ready(child)
        except TimeoutError:
            await child.stop()
            raise Hopeless(f"was not ready after {self.part.ready_timeout:g} seconds") from None
        if ready:
            self._note("running")
            self._is_ready(begun)
        how = how_it_ended(status := await child.wait())
        if status in self.part.final:
            raise Hopeless(how)
        return how

    async def _begin(self) -> Child:
        """Prepare and spawn. Raises Hopeless, or at the first start what `prepare` raises: it is a sentence already."""
        self._note("starting")
        self._log_start = self._log.stat().st_size if self._log.exists() else 0
        try:
            if self.part.prepare is not None:
                await self.part.prepare()
            self._child = Child(self.part.command, self._log)
        except StackError as error:
            if not self.started.is_set():
                raise
            raise Hopeless(f"cannot be started: {error}") from error
        except OSError as error:
            raise Hopeless(f"cannot be started: {error}") from error
        self._note("starting")
        return self._child

    async def _becomes_ready(self, child: Child) -> bool:
        """False when the child ends first."""
        settled = time.monotonic() + self._pace.settle
        while not child.ended:
            if await self.part.ready() if self.part.ready is not None else time.monotonic() >= settled:
                return True
            await asyncio.sleep(self._pace.poll)
        return False

    def _is_ready(self, begun: float) -> None:
        self._ready_since = time.monotonic()
        self._story.ready(self.part.name, self._ready_since - begun, again=self.started.is_set())
        self.started.set()

    async def _pause(self, how: str, deaths: int) -> None:
        pause = self._pace.pause(deaths)
        self._story.died(self.part.name, how, pause)
        self._note("restarting", restarts=self.status.restarts + 1)
        await asyncio.sleep(pause)

    def _was_healthy(self) -> bool:
        return self._ready_since is not None and time.monotonic() - self._ready_since >= self._pace.healthy

    def _failure(self, how: str, deaths: int) -> PartFailed:
        times = f", {deaths} times in a row" if deaths > 1 else ""
        said = last_words(self.part, self._log, self._log_start)
        return PartFailed(f"The {self.part.name} part {how}{times}. {said}")

    def _note(self, state: State, restarts: int | None = None) -> None:
        child = self._child if self._child is not None and not self._child.ended else None
        self.status = self._status(state, child, self.status.restarts if restarts is None else restarts)
        self._changed()

    @staticmethod
    def _status(state: State, child: Child | None, restarts: int) -> PartStatus:
        pid, created = (child.pid, child.created) if child is not None else (None, None)
        return PartStatus(pid=pid, state=state, restarts=restarts, since=int(time.time()), created=created)
