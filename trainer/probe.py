"""The probe that lies beside every model that is trained: what it says of one training example, measured by the trainer.

An engine that was told to load these weights is asked for the same log-probabilities. Where they agree, and differ from
the base's, the weights are really applied (`trainer.contract.Probe`).

The example is the one that has to be cut the least to fit, then the one with the longest answer, then the first: of the
first `_LOOKED_AT` sequences that are trained on, in the file's order, so a run that goes on takes the same one. Of a
conversation with several answers the first answer counts, and what comes after it is left out; of two answers that are
compared, the preferred one.

The numbers are those of a forward pass without dropout, their softmax in float32; all before it is computed as in
training, in `Probe.dtype`. With nf4 the base is quantized, and the engine serves the adapter on the one that is not: its
numbers are near these, and as far off as the quantized base itself is.
"""

import math
import sys
import traceback
from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from peft import PeftModel

from trainer.contract import PROBE, PROBE_TOKENS, Probe, encode
from trainer.events import EventLog
from trainer.failures import TrainingFailed, diverged, is_out_of_memory
from trainer.labels import IGNORED, Tokens

_LOOKED_AT = 1000
"""Sequences: enough to find a short one, and no wait on a large file."""
_ANSWER_TOKENS = PROBE_TOKENS // 2
"""At least so many of an answer are kept where something has to be cut."""


class Asked(NamedTuple):
    """A prompt and its answer, which is token_ids[first:]."""

    token_ids: list[int]
    first: int


def choose(sequences: Iterable[tuple[Tokens, Tokens]], context: int) -> Asked:
    """Of the ids and labels of sequences that each have a label. `context` is what an engine has for these tokens and the
    one that it writes behind them."""
    room = max(min(PROBE_TOKENS, context - 1), 2)
    found = [_first_answer(*one) for one in islice(sequences, _LOOKED_AT)]
    ids, start = min(found, key=lambda one: (max(len(one[0]) - room, 0), one[1] - len(one[0])))
    written = max(room - start, min(_ANSWER_TOKENS, room // 2))
    whole = ids[: start + written]
    kept = whole[-room:]
    return Asked(kept.tolist(), start - len(whole) + len(kept))


def _first_answer(ids: Tokens, labels: Tokens) -> tuple[Tokens, int]:
    """-> the ids up to its end, and where it begins."""
    at = np.flatnonzero(labels[1:] != IGNORED) + 1
    breaks = np.flatnonzero(np.diff(at) > 1)
    last = at[breaks[0]] if len(breaks) else at[-1]
    return ids[: last + 1], int(at[0])


class Prober:
    """Writes the probes of one run: they change nothing of it, and end it only where the model is of no use."""

    def __init__(self, asked: Asked, dtype: str, events: EventLog):
        self._asked = asked
        self._dtype = dtype
        self._events = events
        self._complained = False

    def write(self, network: Any, path: Path, computing: AbstractContextManager[Any]) -> None:
        """Into the directory `path`, in which `network` was saved; `computing` is what its forward passes run in. Without
        the memory for it there is no probe, and a warning once. Raises OSError, and TrainingFailed for a model that says
        nothing: its weights may still be numbers, and too large to compute with."""
        reason = None
        try:
            with computing:
                probe = self._measure(network)
        except TrainingFailed:
            raise
        except Exception as error:  # noqa: BLE001 - a training is not lost for its probe
            probe, reason = None, _explained(error)
        if probe is not None:
            (path / PROBE).write_bytes(encode(probe))
        elif not self._complained:
            self._complained = True
            self._events.warn(
                f"There is no probe of the model, because {reason}. It can be used all the same; only that an engine "
                "applies it cannot be shown by its numbers."
            )

    def _measure(self, network: Any) -> Probe:
        base = None
        if not isinstance(network, PeftModel):
            network.float()  # written already: 16-bit numbers, in which a finished model is, lose nothing by it
        with _evaluating(network), torch.no_grad():
            trained = self._trained(network)
            if isinstance(network, PeftModel):
                with network.disable_adapter():
                    base = log_probs(network, self._asked)
        return Probe(
            token_ids=self._asked.token_ids,
            first=self._asked.first,
            logprobs=trained,
            base_logprobs=base,
            dtype=self._dtype,
        )

    def _trained(self, network: Any) -> list[float]:
        try:
            return log_probs(network, self._asked)
        except ArithmeticError as error:
            raise diverged(f"The trained model is of no use: {error}.") from None


@contextmanager
def _evaluating(network: Any) -> Generator[None]:
    """Dropout and the like off; afterwards each part of the model is in the mode that it was in."""
    trained = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield
    finally:
        for module in trained:
            module.training = True


def log_probs(network: Any, asked: Asked) -> list[float]:
    """Of the answer's tokens, natural logarithm. Raises ArithmeticError where one of them is no number."""
    ids = torch.tensor([asked.token_ids], device=network.device)
    scores = network(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits
    predicted = scores[0, asked.first - 1 : -1].float().log_softmax(-1)
    values = predicted.gather(1, ids[0, asked.first :, None])[:, 0].tolist()
    if not all(map(math.isfinite, values)):
        raise ArithmeticError("its log-probabilities are no numbers")
    return values


def _explained(error: Exception) -> str:
    """Half a sentence; the stack goes to the log where it is needed."""
    if is_out_of_memory(error):
        return "there was not enough memory to measure one"
    if isinstance(error, ArithmeticError):
        return str(error)
    traceback.print_exc(file=sys.stderr)
    return f"measuring it failed ({type(error).__name__})"
