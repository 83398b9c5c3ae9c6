"""The engine without HTTP: models by name, prompts to generations, adapters on and off."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from trainer.engine.adapters import BrokenAdapter
from trainer.engine.choice import Generation, Piece
from trainer.engine.loading import LoadedModel
from trainer.engine.refusals import AdapterRefused, GenerationFailed, ModelNotFound, Refusal, ShuttingDown
from trainer.engine.sampling import Options
from trainer.engine.scheduler import Scheduler
from trainer.engine.sleeping import Sleep
from trainer.engine.weights import MOST, FurtherModels, Weights, is_full_model, scheduler_of

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Adapter:
    name: str
    path: str
    key: str
    """What the model thread calls it: new for every load, so a reloaded name is a new adapter."""
    created: int


class Engine:
    """One base model under one name, the adapters loaded on it, and models beside it. Lives on one event loop."""

    def __init__(
        self, loaded: LoadedModel, name: str, path: str, *, max_concurrency: int, max_models: int = MOST
    ) -> None:
        self.base = Weights(name, path, loaded, scheduler_of(loaded, max_concurrency))
        self.adapters: dict[str, Adapter] = {}
        self.further = FurtherModels(self.base, most=max_models, max_concurrency=max_concurrency)
        self._keys = itertools.count(1)
        self._loading: set[str] = set()
        self._open: set[asyncio.Queue[list[Piece] | Exception]] = set()
        self._settled = asyncio.Event()
        self._draining = False
        self.sleep = Sleep(self)
        self._tokenizing = ThreadPoolExecutor(1, thread_name_prefix="tokenize")

    @property
    def scheduler(self) -> Scheduler:
        """The base's."""
        return self.base.scheduler

    @property
    def models(self) -> list[Weights]:
        """The base and those beside it."""
        return [self.base, *self.further.by_name.values()]

    def start(self) -> None:
        self.base.scheduler.start(asyncio.get_running_loop())

    def stop(self) -> None:
        for weights in self.models:
            weights.scheduler.stop()
        self._tokenizing.shutdown()

    async def tokenizing(self, work: Callable[[], Result]) -> Result:
        """Runs template rendering and encoding beside the event loop: a long prompt takes a while."""
        return await asyncio.get_running_loop().run_in_executor(self._tokenizing, work)

    def weights_of(self, name: str) -> Weights:
        """What answers as `name`: the base for itself and its adapters. Raises ModelNotFound."""
        if name == self.base.name or name in self.adapters:
            return self.base
        if name not in self.further.by_name:
            raise ModelNotFound(name)
        return self.further.by_name[name]

    async def generate(
        self, model: str, prompts: list[list[int]], options: list[Options], *, n: int = 1, streaming: bool = True
    ) -> AsyncIterator[list[Piece]]:
        """Pieces of `n` choices for each prompt as they come, indexed prompt by prompt. Closing the iterator early
        frees their places at once.

        Raises ModelNotFound, GenerationFailed, Asleep and ShuttingDown.
        """
        weights = self.weights_of(model)
        if self._draining:
            raise ShuttingDown
        self.sleep.check()
        outcomes: asyncio.Queue[list[Piece] | Exception] = asyncio.Queue()
        key = self.adapters[model].key if model in self.adapters else None
        generations = [
            Generation(ids, key, options[at], outcomes.put_nowait, n, at * n, streaming)
            for at, ids in enumerate(prompts)
        ]
        with weights.answering():
            async with aclosing(self._pieces(weights.scheduler, generations, outcomes)) as batches:
                async for pieces in batches:
                    yield pieces

    async def _pieces(
        self,
        scheduler: Scheduler,
        generations: list[Generation],
        outcomes: asyncio.Queue[list[Piece] | Exception],
    ) -> AsyncGenerator[list[Piece]]:
        self._open.add(outcomes)
        for generation in generations:
            scheduler.submit(generation)
        unfinished = sum(generation.n for generation in generations)
        try:
            while unfinished:
                outcome = await outcomes.get()
                if isinstance(outcome, Refusal):
                    raise outcome
                if isinstance(outcome, Exception):
                    raise GenerationFailed(str(outcome) or type(outcome).__name__) from outcome
                unfinished -= sum(piece.finish_reason is not None for piece in outcome)
                yield outcome
        finally:
            self._close(outcomes)
            if unfinished:
                for generation in generations:
                    scheduler.cancel(generation)

    def _close(self, outcomes: asyncio.Queue[Any]) -> None:
        self._open.discard(outcomes)
        self._settled.set()

    def end_calls(self, error: Refusal) -> None:
        """Of the calls that are being answered."""
        for outcomes in self._open:
            outcomes.put_nowait(error)

    async def quiet(self) -> None:
        """Returns when nothing is being answered and nothing is being loaded."""
        while self._open or self._loading:
            self._settled.clear()
            await self._settled.wait()

    async def drain(self, seconds: float) -> None:
        """Takes no new calls and lets the open ones go on for this long; those that are left end with ShuttingDown."""
        self._draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.quiet()
        self.end_calls(ShuttingDown())

    async def load_adapter(self, name: str, path: str, *, replace: bool = False) -> None:
        """An adapter on the base, or a model beside it where `path` holds weights of their own (vLLM refuses those).

        Raises AdapterRefused, with vLLM's statuses and sentences, and Asleep.
        """
        self.sleep.check()
        self._check_new_adapter(name, path, replace=replace)
        self._loading.add(name)
        try:
            if is_full_model(path):
                await self.further.load(name, path)
                await self._detach(self.adapters.pop(name, None))
            else:
                await self._attach(name, path)
        finally:
            self._loading.discard(name)
            self._settled.set()

    async def _attach(self, name: str, path: str) -> None:
        key = f"adapter_{next(self._keys)}"
        try:
            await self.base.scheduler.attach(key, Path(path))
        except BrokenAdapter as error:
            raise AdapterRefused.broken(name, str(error)) from error
        former = self.adapters.pop(name, None)
        self.adapters[name] = Adapter(name, path, key, int(time.time()))
        await self._detach(former)

    async def _detach(self, former: Adapter | None) -> None:
        """Of an adapter whose name now stands for something else."""
        if former is not None:
            await self.base.scheduler.detach(former.key)

    def _check_new_adapter(self, name: str, path: str, *, replace: bool) -> None:
        if not name or not path:
            raise AdapterRefused.invalid("Both 'lora_name' and 'lora_path' must be provided.")
        if name == self.base.name:
            raise AdapterRefused.invalid(f"The lora adapter name '{name}' conflicts with a served base model.")
        if name in self._loading or name in self.further.by_name or (name in self.adapters and not replace):
            raise AdapterRefused.invalid(
                f"The lora adapter '{name}' has already been loaded. If you want to load the adapter in place, "
                "set 'load_inplace' to True."
            )
        if not Path(path).is_dir():
            raise AdapterRefused.unknown(f"Loading lora {name} failed: No adapter found for {path}")

    async def unload_adapter(self, name: str) -> None:
        """Forgets the name at once; the weights go when the last answer that uses them has ended. Raises AdapterRefused
        and Asleep."""
        self.sleep.check()
        if not name:
            raise AdapterRefused.invalid("'lora_name' needs to be provided to unload a LoRA adapter.")
        if name in self.further.by_name:
            self.further.unload(name)
            return
        adapter = self.adapters.pop(name, None)
        if adapter is None:
            raise AdapterRefused.unknown(f"The lora adapter '{name}' cannot be found.")
        await self.base.scheduler.detach(adapter.key)
