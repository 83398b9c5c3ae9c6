"""Weights out of memory for a while, as vLLM's sleep mode: what else wants the memory gets it, and the names stay.

    awake -> falling asleep -> asleep -> waking up -> awake

Only awake are calls taken: at every other time they get a 503 and may come again. Falling asleep ends the answers under
way (`abort`) or waits for them (`wait`); a load that has begun is waited for in both. Orders are carried out one after
the other: an engine that is told to wake up while it falls asleep falls asleep, and then wakes. What is the case already
is done at once.
"""

import asyncio
import logging
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.engine.adapters import first_line
from trainer.engine.loading import LoadedModel, load
from trainer.engine.refusals import Asleep, WakingFailed
from trainer.engine.weights import Weights, free_memory, put_away, scheduler_of

if TYPE_CHECKING:
    from trainer.engine.engine import Engine

logger = logging.getLogger("tuneway.engine")


class State(Enum):
    AWAKE = "awake"
    FALLING_ASLEEP = "falling asleep"
    ASLEEP = "asleep"
    WAKING_UP = "waking up"


class Sleep:
    """Of one engine, on its event loop. An order that was given is to be carried out, even when nobody waits for it any
    more: callers shield it."""

    def __init__(self, engine: "Engine") -> None:
        self.state = State.AWAKE
        self._engine = engine
        self._orders = asyncio.Lock()

    @property
    def is_awake(self) -> bool:
        return self.state is State.AWAKE

    def check(self) -> None:
        """Raises Asleep at every time but awake."""
        if not self.is_awake:
            raise Asleep(self.state.value)

    async def begin(self, *, abort: bool) -> None:
        """Returns when the weights are out of memory. An abort also ends what an earlier order waits for."""
        if abort and self.state is State.FALLING_ASLEEP:
            self._engine.end_calls(Asleep(self.state.value))
        async with self._orders:
            if self.state is State.ASLEEP:
                return
            self.state = State.FALLING_ASLEEP
            if abort:
                self._engine.end_calls(Asleep(self.state.value))
            await self._engine.quiet()
            for weights in self._engine.models:
                await asyncio.to_thread(put_away, weights.scheduler, weights.loaded.model)
            self.state = State.ASLEEP
            logger.info("Asleep: no weights are in memory.")

    async def end(self) -> None:
        """Returns when all that was loaded answers again. What cannot be loaded any more loses its name; raises
        WakingFailed where that is the base, and sleeps on."""
        async with self._orders:
            if self.is_awake:
                return
            self.state = State.WAKING_UP
            base, *others = self._engine.models
            try:
                await load_again(base)
            except Exception as error:
                self.state = State.ASLEEP
                logger.exception("Waking up failed.")
                free_memory()
                raise WakingFailed(first_line(error)) from error
            await self._bring_back_adapters()
            await self._bring_back(others)
            self.state = State.AWAKE
            logger.info("Awake again.")

    async def _bring_back_adapters(self) -> None:
        adapters = self._engine.adapters
        for adapter in list(adapters.values()):
            try:
                await self._engine.base.scheduler.attach(adapter.key, Path(adapter.path))
            except Exception:
                logger.warning("The adapter %s did not come back.", adapter.name, exc_info=True)
                del adapters[adapter.name]

    async def _bring_back(self, models: list[Weights]) -> None:
        for weights in models:
            try:
                await load_again(weights)
            except Exception:
                logger.warning("The model %s did not come back.", weights.name, exc_info=True)
                free_memory()
                del self._engine.further.by_name[weights.name]


async def load_again(weights: Weights) -> None:
    """From where it was loaded, with the limits it had and its counts so far. Raises whatever loading raises."""
    former = weights.scheduler
    loaded = await asyncio.to_thread(_read, weights)
    scheduler = scheduler_of(loaded, former.max_concurrency)
    scheduler.prompt_tokens, scheduler.generated_tokens = former.prompt_tokens, former.generated_tokens
    weights.loaded, weights.scheduler = loaded, scheduler
    scheduler.start(asyncio.get_running_loop())


def _read(weights: Weights) -> LoadedModel:
    loaded = load(weights.path, device=weights.loaded.model.device.type)
    return replace(loaded, max_model_len=weights.loaded.max_model_len)
