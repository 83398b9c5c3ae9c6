"""Models in memory, each with a thread of its own that answers with it.

The base is there from start to end. A training of all weights makes a further model: as large as the base, without need
of it, and gone with its last answer once it is unloaded.
"""

import asyncio
import ctypes
import gc
import logging
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from trainer.engine.adapters import CONFIG as ADAPTER_CONFIG
from trainer.engine.adapters import first_line
from trainer.engine.loading import LoadedModel, load
from trainer.engine.refusals import AdapterRefused
from trainer.engine.scheduler import Scheduler

logger = logging.getLogger("tuneway.engine")

CONFIG = "config.json"
MOST = 4
"""Further models at a time, unless the command line says otherwise: each is as large as the base."""


@dataclass(eq=False, slots=True)
class Weights:
    """One model in memory."""

    name: str
    path: str
    loaded: LoadedModel
    scheduler: Scheduler
    created: int = field(default_factory=lambda: int(time.time()))
    calls: int = 0
    """Answers that are being written with it."""
    unloaded: bool = False

    @contextmanager
    def answering(self) -> Generator[None]:
        self.calls += 1
        try:
            yield
        finally:
            self.calls -= 1
            if self.unloaded and not self.calls:
                free(self)


class FurtherModels:
    """Those beside the base: at most so many at a time, on the base's device, with its limits. On one event loop."""

    def __init__(self, base: Weights, *, most: int, max_concurrency: int) -> None:
        self.by_name: dict[str, Weights] = {}
        self._base = base
        self._most = most
        self._max_concurrency = max_concurrency
        self._loading = 0

    async def load(self, name: str, path: str) -> None:
        """Beside the event loop; answers go on meanwhile. Raises AdapterRefused."""
        if len(self.by_name) + self._loading >= self._most:
            raise AdapterRefused.invalid(
                f"Loading {name} failed: this engine serves at most {self._most} models with weights of their own "
                "(--max-models). Unload one of them first."
            )
        self._loading += 1
        try:
            self.by_name[name] = await asyncio.to_thread(self._load, name, path)
        except Exception as error:
            # Whatever a file may do to the libraries: the engine goes on.
            logger.warning("Loading %s failed.", name, exc_info=True)
            free_memory()
            raise AdapterRefused.invalid(f"Loading {name} failed: {first_line(error)}") from error
        finally:
            self._loading -= 1
        self.by_name[name].scheduler.start(asyncio.get_running_loop())

    def _load(self, name: str, path: str) -> Weights:
        base = self._base.loaded
        loaded = load(path, device=base.model.device.type)
        loaded = replace(loaded, max_model_len=min(loaded.max_model_len, base.max_model_len))
        return Weights(name, path, loaded, scheduler_of(loaded, self._max_concurrency))

    def unload(self, name: str) -> None:
        """Forgets the name at once; the weights go when the last answer that uses them has ended. Raises KeyError."""
        weights = self.by_name.pop(name)
        weights.unloaded = True
        if not weights.calls:
            free(weights)


def scheduler_of(loaded: LoadedModel, max_concurrency: int) -> Scheduler:
    return Scheduler(loaded.model, loaded.vocabulary, max_concurrency=max_concurrency, threads=loaded.threads)


def is_full_model(path: str) -> bool:
    """Weights of their own rather than an adapter."""
    directory = Path(path)
    return (directory / CONFIG).exists() and not (directory / ADAPTER_CONFIG).exists()


def free(weights: Weights) -> None:
    """Ends its thread, beside the event loop, and gives the memory back.

    A call that has just ended may name the model a moment longer, so its tensors are emptied: what still belongs to one
    when the device is told to let go stays with this process, and a training on that device does not get it.
    """

    asyncio.get_running_loop().run_in_executor(None, put_away, weights.scheduler, weights.loaded.model)


def put_away(scheduler: Scheduler, model: torch.nn.Module) -> None:
    """Returns when the thread has ended and the weights are out of memory."""
    scheduler.stop()
    while scheduler.alive:  # it is at a long step, and needs them
        scheduler.stop()
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.new_empty(0)
    free_memory()


def free_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # glibc's: it keeps what is freed, up to 32 MB a piece
        trim(0)
