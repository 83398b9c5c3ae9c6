"""Fine-tuned models that no replica holds come back when they are called.

There may be more of them than an engine has room for (`engine.max_adapters`). The first call of one that left asks a worker
for it and waits, for a bounded time; whoever calls the same model meanwhile waits for the same answer.
"""

import asyncio
import logging
import time
from dataclasses import dataclass

from gateway.db.mirror import Mirrors
from gateway.errors import Unavailable
from gateway.kit.background import Background
from gateway.queue import Queue
from gateway.routing.catalog import Deployment
from gateway.routing.residency import Residency

log = logging.getLogger(__name__)

TASK = "load_model"
WANTED_BY_A_CALL = "a call"
LOOK_SECONDS = 0.05
"""Between two looks at what the worker did."""
RETRY_SECONDS = 10.0
"""A model that was refused is not asked for again so soon: its calls fall back at once."""
ASK_AGAIN_SECONDS = 5.0
"""Between two requests to the workers: one of them may have died over the first."""


@dataclass(frozen=True)
class Loader:
    """Asks workers for models; one flight per model and process."""

    queue: Queue
    mirrors: Mirrors
    residency: Residency
    background: Background
    flights: dict[str, asyncio.Task[bool]]
    looking: list[asyncio.Task[None]]
    """At most one: calls that wait for different models share their looks at the database."""

    @classmethod
    def of(cls, queue: Queue, mirrors: Mirrors, residency: Residency, background: Background) -> "Loader":
        return cls(queue, mirrors, residency, background, {}, [])

    async def wait_until_loaded(self, deployment: Deployment, seconds: float) -> bool:
        """Whether a replica is ready to answer for a fine-tuned model, now or within `seconds`.

        False: the engine refuses it (`residency.problem` says why), no worker lives, or it takes longer; then the
        model may still arrive a little later.
        """
        model = deployment.model
        if self.residency.ready(model):
            return True
        if self.residency.failed_since(model, time.monotonic() - RETRY_SECONDS):
            return False
        flight = self.flights.get(model)
        if flight is None:
            flight = self.background.spawn(self._load(model, seconds), f"load {model}")
            self.flights[model] = flight
            flight.add_done_callback(lambda _: self.flights.pop(model, None))
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(flight)
        except TimeoutError:
            return False

    async def _load(self, model: str, seconds: float) -> bool:
        """Until it is ready or refused; never longer than `seconds`."""
        began = asked = time.monotonic()
        if not await self._ask(model):
            return False
        while time.monotonic() < began + seconds:
            await self._look()
            if self.residency.ready(model):
                return True
            if self.residency.failed_since(model, began):
                return False
            if time.monotonic() > asked + ASK_AGAIN_SECONDS:
                asked = time.monotonic()
                await self._ask(model)
            await asyncio.sleep(LOOK_SECONDS)
        return False

    async def _ask(self, model: str) -> bool:
        try:
            await self.queue.enqueue(TASK, model, "", WANTED_BY_A_CALL, unique=f"{TASK}:{model}")
        except Unavailable as away:
            log.warning("%s is not asked for: %s", model, away)
            return False
        return True

    async def _look(self) -> None:
        if not self.looking:
            self.looking.append(self.background.spawn(self.mirrors.catch_up(), "look what is loaded"))
            self.looking[0].add_done_callback(lambda _: self.looking.clear())
        await asyncio.wait({self.looking[0]})
