"""Looks at the traffic that judges watch, and has a share of it judged."""

import time

from gateway.judging import repository, specs, watching
from gateway.services import WorkerServices

SWEEP_EVERY_SECONDS = 600.0
"""Exchanges that arrived late are found this much later at most."""


class Sampling:
    """A worker's: when it last looked back for long."""

    def __init__(self, wv: WorkerServices) -> None:
        self._wv = wv
        self._swept: dict[str, float] = {}

    async def round(self) -> None:
        """One look for each judge that watches. Raises Unavailable; the next round goes on."""
        async with self._wv.database.session() as session:
            judges = await watching.due(session)
        for judge_id in judges:
            sweep = time.monotonic() - self._swept.get(judge_id, -SWEEP_EVERY_SECONDS) >= SWEEP_EVERY_SECONDS
            if await self._sample(judge_id, sweep=sweep) and sweep:
                self._swept[judge_id] = time.monotonic()

    async def _sample(self, judge_id: str, *, sweep: bool) -> bool:
        """Whether it could look: no other worker was at it."""
        async with self._wv.database.session() as session:
            row = await watching.lock(session, judge_id)
            if row is None:
                return False
            version = await repository.version(session, row)
            await watching.Round(session, row, version, specs.repeats_of(version)).sample(sweep=sweep)
        return True
