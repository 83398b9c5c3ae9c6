"""The model thread: who is read, who decodes, who waits.

One turn of the loop does one piece of the first prompt in line and one decode step of every adapter's rows, so
nobody waits for somebody else's whole answer. Requests beyond the limit wait in order of arrival.
"""

import asyncio
import contextlib
import logging
import os
import queue
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch
from transformers.cache_utils import Cache

from trainer.engine.adapters import Adapters
from trainer.engine.batch import Rows, rows_for
from trainer.engine.choice import Choice, Generation, Piece, choices_of
from trainer.engine.prefill import Prefill
from trainer.engine.sampling import choose
from trainer.engine.vocabulary import Vocabulary

logger = logging.getLogger("tuneway.engine")

Outcome = list[Piece] | Exception

LONGEST_STEP_SECONDS = 5.0
"""How long stopping waits for the step that the model is at: a large model on a CPU may take longer."""


class Scheduler:
    """Owns the model. Only `submit`, `cancel`, `attach`, `detach`, `start` and `stop` may be called from outside."""

    def __init__(self, model: Any, vocabulary: Vocabulary, *, max_concurrency: int, threads: int | None = None) -> None:
        self._model = model
        self._config = model.config.get_text_config(decoder=True)
        self._vocabulary = vocabulary
        self.max_concurrency = max_concurrency
        self._threads = threads
        self._adapters = Adapters(model)
        self._orders: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._waiting: deque[Generation] = deque()
        self._prefills: deque[Prefill] = deque()
        self._rows: dict[str | None, Rows] = {}
        self._leaving: set[str] = set()
        self._outbox: dict[Generation, Outcome] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._stopping = False
        self.prompt_tokens = 0
        self.generated_tokens = 0

    # Called on the event loop.

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread after its current step; answers in the making are dropped."""
        self._orders.put(self._stop)
        self._thread.join(LONGEST_STEP_SECONDS)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def running(self) -> int:
        """Choices that hold a place, prompts being read included."""
        return sum(len(rows.choices) for rows in self._rows.copy().values()) + sum(
            prefill.generation.n for prefill in self._prefills.copy()
        )

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def submit(self, generation: Generation) -> None:
        self._orders.put(lambda: self._waiting.append(generation))

    def cancel(self, generation: Generation) -> None:
        """Frees the place of an answer that nobody reads any more; a finished one is no error."""
        generation.cancelled = True
        self._orders.put(lambda: self._drop(generation))

    def attach(self, key: str, path: Path) -> "asyncio.Future[None]":
        """Raises BrokenAdapter."""
        return self._order(lambda: self._adapters.attach(key, path))

    def detach(self, key: str) -> "asyncio.Future[None]":
        """Takes an adapter off once nobody in line or at work uses it."""
        return self._order(lambda: self._leaving.add(key))

    def _order(self, action: Callable[[], None]) -> "asyncio.Future[None]":
        done: Future[None] = Future()

        def act() -> None:
            try:
                action()
            except Exception as error:  # noqa: BLE001 - handed to the caller, who awaits it
                done.set_exception(error)
            else:
                done.set_result(None)

        self._orders.put(act)
        return asyncio.wrap_future(done, loop=self._loop)

    # Everything below runs on the model thread.

    def _run(self) -> None:
        try:
            self._turn_until_stopped()
        except BaseException:
            # Without this thread the process is no use: let it be started anew.
            logger.critical("The model thread failed.", exc_info=True)
            os._exit(1)

    def _turn_until_stopped(self) -> None:
        if self._threads is not None:
            torch.set_num_threads(self._threads)
        while not self._stopping:
            self._take_orders()
            self._admit()
            with torch.inference_mode():
                self._read_prompts()
                self._decode()
            self._let_adapters_go()

    def _stop(self) -> None:
        self._stopping = True

    def _take_orders(self) -> None:
        """Waits for one only when there is nothing else to do."""
        busy = self._waiting or self._prefills or any(rows.choices for rows in self._rows.values())
        with contextlib.suppress(queue.Empty):
            while True:
                order = self._orders.get(block=not busy)
                busy = True
                order()

    def _admit(self) -> None:
        while self._waiting:
            first = self._waiting[0]
            if self.running and self.running + first.n > self.max_concurrency:
                return
            self._waiting.popleft()
            self._prefills.append(Prefill(first, self._config))

    def _read_prompts(self) -> None:
        if not self._prefills:
            return
        prefill = self._prefills[0]
        generation = prefill.generation
        try:
            self._adapters.activate(generation.adapter)
            logits = prefill.step(self._model)
            if logits is not None:
                self._prefills.popleft()
                self._begin(prefill, logits)
        except Exception as error:
            logger.exception("Reading a prompt failed.")
            self._fail(generation, error)
        self._send()

    def _begin(self, prefill: Prefill, logits: torch.Tensor) -> None:
        """Writes the first token of every choice and lets those that go on join the rows of their adapter."""
        generation = prefill.generation
        choices = choices_of(generation, self._vocabulary, logits.shape[-1])
        self.prompt_tokens += len(generation.prompt_ids)
        self._accept(choices, logits.expand(len(choices), -1))
        unfinished = [choice for choice in choices if not choice.finished]
        if unfinished:
            self._join(generation.adapter, prefill.cache, unfinished)

    def _join(self, adapter: str | None, cache: Cache, choices: list[Choice]) -> None:
        """What fails in the middle of it (no memory for larger buffers) has moved the rows of others in some of the layers: they
        would go on with what is not theirs, so they fail, too."""
        rows = self._rows.setdefault(adapter, rows_for(self._config))
        try:
            rows.join(cache, choices)
        except Exception as error:
            self._fail_rows(adapter, rows, error)
            raise

    def _decode(self) -> None:
        for adapter, rows in list(self._rows.items()):
            if rows.choices:
                self._step(adapter, rows)
                self._send()
            else:
                del self._rows[adapter]

    def _step(self, adapter: str | None, rows: Rows) -> None:
        try:
            self._adapters.activate(adapter)
            self._accept(rows.choices, rows.step(self._model))
        except Exception as error:
            logger.exception("A decode step failed.")
            self._fail_rows(adapter, rows, error)
            return
        for choice in [choice for choice in rows.choices if choice.finished]:
            rows.leave(choice)

    def _fail_rows(self, adapter: str | None, rows: Rows, error: Exception) -> None:
        del self._rows[adapter]
        for generation in {choice.generation for choice in rows.choices}:
            self._fail(generation, error)

    def _accept(self, choices: list[Choice], logits: torch.Tensor) -> None:
        drawn = choose(logits, [choice.sampler for choice in choices])
        self.generated_tokens += len(choices)
        for choice, (token, logprob) in zip(choices, drawn, strict=True):
            piece = choice.accept(token, logprob)
            if piece is not None:
                outcome = self._outbox.setdefault(choice.generation, [])
                if isinstance(outcome, list):
                    outcome.append(piece)

    def _fail(self, generation: Generation, error: Exception) -> None:
        self._outbox[generation] = error
        self._drop(generation)

    def _drop(self, generation: Generation) -> None:
        if generation in self._waiting:
            self._waiting.remove(generation)
        self._prefills = deque(prefill for prefill in self._prefills if prefill.generation is not generation)
        rows = self._rows.get(generation.adapter)
        for choice in list(rows.choices) if rows else []:
            if rows and choice.generation is generation:
                rows.leave(choice)

    def _let_adapters_go(self) -> None:
        if not self._leaving:
            return
        used = {generation.adapter for generation in self._waiting}
        used |= {prefill.generation.adapter for prefill in self._prefills}
        used |= {adapter for adapter, rows in self._rows.items() if rows.choices}
        for key in self._leaving - used:
            self._adapters.detach(key)
            self._leaving.discard(key)

    def _send(self) -> None:
        """One wake-up of the event loop for all choices that moved together."""
        if self._outbox and self._loop is not None:
            outbox, self._outbox = self._outbox, {}
            self._loop.call_soon_threadsafe(deliver, outbox)


def deliver(outbox: dict[Generation, Outcome]) -> None:
    for generation, outcome in outbox.items():
        if not generation.cancelled:
            generation.deliver(outcome)
