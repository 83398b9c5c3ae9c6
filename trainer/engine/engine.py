"""The engine without HTTP: models by name, prompts to generations, adapters on and off."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from trainer.engine.adapters import BrokenAdapter
from trainer.engine.choice import Generation, Piece
from trainer.engine.loading import LoadedModel
from trainer.engine.refusals import AdapterRefused, GenerationFailed, ModelNotFound, Refusal, ShuttingDown
from trainer.engine.sampling import Options
from trainer.engine.scheduler import Scheduler

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Adapter:
    name: str
    path: str
    key: str
    """What the model thread calls it: new for every load, so a reloaded name is a new adapter."""
    created: int


class Engine:
    """One base model under one name, with the adapters loaded on it. Lives on one event loop."""

    def __init__(self, loaded: LoadedModel, name: str, path: str, *, max_concurrency: int) -> None:
        self.loaded = loaded
        self.name = name
        self.path = path
        self.created = int(time.time())
        self.adapters: dict[str, Adapter] = {}
        self.scheduler = Scheduler(
            loaded.model, loaded.vocabulary, max_concurrency=max_concurrency, threads=loaded.threads
        )
        self._keys = itertools.count(1)
        self._loading: set[str] = set()
        self._open: set[asyncio.Queue[list[Piece] | Exception]] = set()
        self._idle = asyncio.Event()
        self._draining = False
        self._tokenizing = ThreadPoolExecutor(1, thread_name_prefix="tokenize")

    def start(self) -> None:
        self.scheduler.start(asyncio.get_running_loop())

    def stop(self) -> None:
        self.scheduler.stop()
        self._tokenizing.shutdown()

    async def tokenizing(self, work: Callable[[], Result]) -> Result:
        """Runs template rendering and encoding beside the event loop: a long prompt takes a while."""
        return await asyncio.get_running_loop().run_in_executor(self._tokenizing, work)

    def check_model(self, name: str) -> None:
        """Raises ModelNotFound."""
        if name != self.name and name not in self.adapters:
            raise ModelNotFound(name)

    async def generate(
        self, model: str, prompts: list[list[int]], options: list[Options], *, n: int = 1, streaming: bool = True
    ) -> AsyncIterator[list[Piece]]:
        """Pieces of `n` choices for each prompt as they come, indexed prompt by prompt. Closing the iterator early
        frees their places at once.

        Raises ModelNotFound, GenerationFailed and ShuttingDown.
        """
        self.check_model(model)
        if self._draining:
            raise ShuttingDown
        outcomes: asyncio.Queue[list[Piece] | Exception] = asyncio.Queue()
        self._open.add(outcomes)
        key = self.adapters[model].key if model in self.adapters else None
        generations = [
            Generation(ids, key, options[at], outcomes.put_nowait, n, at * n, streaming)
            for at, ids in enumerate(prompts)
        ]
        for generation in generations:
            self.scheduler.submit(generation)
        unfinished = n * len(prompts)
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
                    self.scheduler.cancel(generation)

    def _close(self, outcomes: asyncio.Queue[Any]) -> None:
        self._open.discard(outcomes)
        if not self._open:
            self._idle.set()

    async def drain(self, seconds: float) -> None:
        """Takes no new calls and lets the open ones go on for this long; those that are left end with ShuttingDown."""
        self._draining = True
        self._idle.clear()
        if self._open:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), seconds)
        for outcomes in self._open:
            outcomes.put_nowait(ShuttingDown())

    async def load_adapter(self, name: str, path: str, *, replace: bool = False) -> None:
        """Raises AdapterRefused, with vLLM's statuses and sentences."""
        self._check_new_adapter(name, path, replace=replace)
        key = f"adapter_{next(self._keys)}"
        self._loading.add(name)
        try:
            await self.scheduler.attach(key, Path(path))
        except BrokenAdapter as error:
            raise AdapterRefused.broken(name, str(error)) from error
        finally:
            self._loading.discard(name)
        former = self.adapters.pop(name, None)
        self.adapters[name] = Adapter(name, path, key, int(time.time()))
        if former is not None:
            await self.scheduler.detach(former.key)

    def _check_new_adapter(self, name: str, path: str, *, replace: bool) -> None:
        if not name or not path:
            raise AdapterRefused.invalid("Both 'lora_name' and 'lora_path' must be provided.")
        if name == self.name:
            raise AdapterRefused.invalid(f"The lora adapter name '{name}' conflicts with a served base model.")
        if name in self._loading or (name in self.adapters and not replace):
            raise AdapterRefused.invalid(
                f"The lora adapter '{name}' has already been loaded. If you want to load the adapter in place, "
                "set 'load_inplace' to True."
            )
        if not Path(path).is_dir():
            raise AdapterRefused.unknown(f"Loading lora {name} failed: No adapter found for {path}")

    async def unload_adapter(self, name: str) -> None:
        """Forgets the name at once; the weights go when the last answer that uses them has ended."""
        if not name:
            raise AdapterRefused.invalid("'lora_name' needs to be provided to unload a LoRA adapter.")
        adapter = self.adapters.pop(name, None)
        if adapter is None:
            raise AdapterRefused.unknown(f"The lora adapter '{name}' cannot be found.")
        await self.scheduler.detach(adapter.key)
