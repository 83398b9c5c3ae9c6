"""Runs parts that depend on each other, keeps them running, and stops them in reverse order.

It knows nothing about what the parts are: `stack.py` declares them.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from deploy.parts import Pace, Part
from deploy.parts_file import write_parts
from deploy.supervised_part import Story, SupervisedPart

LARGEST_LOG_BYTES = 10 * 1024 * 1024


class Supervisor:
    """Parts in the order of their start: a part names only earlier ones in `depends_on`; what is independent starts together.

    When a part dies, those that depend on it keep running: they connect again.
    """

    def __init__(self, parts: Sequence[Part], *, run: Path, logs: Path, story: Story, pace: Pace | None = None) -> None:
        """Writes `run`/parts.json on each change and appends each part's output to `logs`/NAME.log."""
        self._file = run / "parts.json"
        self._parts: dict[str, SupervisedPart] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        for part in parts:
            log = logs / f"{part.name}.log"
            _rotate(log)
            self._parts[part.name] = SupervisedPart(
                part, log=log, pace=pace or Pace(), story=story, changed=self._write_file
            )

    async def start(self) -> None:
        """Return when every part that is waited for is ready. Raises PartFailed; `stop` is the caller's in any case."""
        loop = asyncio.get_running_loop()
        self._tasks = {name: loop.create_task(self._keep(part), name=name) for name, part in self._parts.items()}
        ready = asyncio.ensure_future(self._awaited())
        failed = asyncio.ensure_future(self.watch())
        try:
            await asyncio.wait((ready, failed), return_when=asyncio.FIRST_COMPLETED)
            if failed.done():
                failed.result()
        finally:
            ready.cancel()
            failed.cancel()

    def still_starting(self) -> list[str]:
        """The parts that start-up did not wait for and that have not been ready yet."""
        return [name for name, part in self._parts.items() if not part.started.is_set()]

    async def watch(self) -> None:
        """Wait for as long as the parts run. Raises PartFailed when one is given up."""
        done, _ = await asyncio.wait(self._tasks.values(), return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()

    async def stop(self, hurry: asyncio.Event) -> None:
        """Stop every part, the last one first, each after the one before has ended; `hurry` cuts the waiting short."""
        for name, part in reversed(self._parts.items()):
            if name in self._tasks:
                await _cancelled(self._tasks[name])
            await part.stop(hurry)

    async def _awaited(self) -> None:
        for part in self._parts.values():
            if part.part.awaited:
                await part.started.wait()

    async def _keep(self, part: SupervisedPart) -> None:
        for name in part.part.depends_on:
            await self._parts[name].started.wait()
        await part.keep()

    def _write_file(self) -> None:
        listed = {
            name: supervised.status
            for name, supervised in self._parts.items()
            if not supervised.part.once or supervised.status.pid is not None
        }
        with suppress(OSError):  # a full disk is no reason to stop what runs
            write_parts(self._file, listed)


async def _cancelled(task: asyncio.Task[None]) -> None:
    """End a task; what it raised has been told, or will be."""
    task.cancel()
    await asyncio.wait((task,))
    if not task.cancelled():
        task.exception()


def _rotate(log: Path) -> None:
    """Keep one older log when the present one has grown large."""
    if log.exists() and log.stat().st_size > LARGEST_LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
