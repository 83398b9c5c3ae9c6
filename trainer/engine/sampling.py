"""From logits to a token. Each choice has its own sampler and its own random numbers, so neighbours change nothing."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

NUCLEUS_GUESS = 256
"""Most probable tokens looked at first for top_p; only when they do not hold enough mass is everything sorted."""

GREEDY_BELOW = 1e-5
"""Temperatures under this mean 0, as in vLLM."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to write an answer; every field has its final value (no defaults left to look up)."""

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    """0 looks at all tokens."""
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    logit_bias: dict[int, float] = field(default_factory=dict)
    seed: int | None = None
    min_tokens: int = 0
    ignore_eos: bool = False
    stop: tuple[str, ...] = ()
    stop_ids: frozenset[int] = frozenset()
    top_logprobs: int | None = None
    """Alternatives to report for each token; None reports no log probabilities at all."""
    prompt_logprobs: int | None = None
    """The same for each token of the prompt."""


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """The log probability (nats) of a token, and of the most probable ones at its place."""

    token: int
    logprob: float
    top: list[tuple[int, float]]


class Sampler:
    """The state of one choice: its random numbers and the tokens it has used."""

    def __init__(self, options: Options, index: int, prompt_ids: Sequence[int], vocab_size: int) -> None:
        seed = options.seed if index == 0 or options.seed is None else f"{options.seed}/{index}"
        self._random = random.Random(seed)  # noqa: S311 - sampling text, not making secrets
        self._options = options
        self._banned = sorted(options.stop_ids) if options.min_tokens and not options.ignore_eos else []
        self._counts = (
            torch.zeros(vocab_size, dtype=torch.float32)
            if options.frequency_penalty or options.presence_penalty
            else None
        )
        self._seen = self._mark_seen(prompt_ids, vocab_size)
        self._bias = self._bias_tensors()
        self._written = 0
        reshapes = self._counts is not None or self._seen is not None or self._bias or self._banned
        self.greedy = options.temperature < GREEDY_BELOW
        self.plain = self.greedy and not reshapes and options.top_logprobs is None
        """Whether the largest logit is all there is to it."""

    def _mark_seen(self, prompt_ids: Sequence[int], vocab_size: int) -> Tensor | None:
        if self._options.repetition_penalty == 1.0:
            return None
        seen = torch.zeros(vocab_size, dtype=torch.bool)
        seen[torch.tensor(prompt_ids)] = True
        return seen

    def _bias_tensors(self) -> tuple[Tensor, Tensor] | None:
        bias = self._options.logit_bias
        return (torch.tensor(list(bias)), torch.tensor(list(bias.values()), dtype=torch.float32)) if bias else None

    def pick(self, logits: Tensor) -> tuple[int, TokenLogprob | None]:
        """One token from a row of float32 logits on the CPU, with its log probability before any reshaping."""
        shaped = self._reshape(logits)
        token = int(shaped.argmax()) if self.greedy else self._draw(shaped)
        report = None
        if self._options.top_logprobs is not None:
            report = logprob_of(logits, token, self._options.top_logprobs)
        self._note(token)
        return token, report

    def _note(self, token: int) -> None:
        self._written += 1
        if self._counts is not None:
            self._counts[token] += 1
        if self._seen is not None:
            self._seen[token] = True

    def _reshape(self, logits: Tensor) -> Tensor:
        options = self._options
        if self._seen is not None:
            penalised = torch.where(
                logits > 0, logits / options.repetition_penalty, logits * options.repetition_penalty
            )
            logits = torch.where(self._seen, penalised, logits)
        if self._counts is not None:
            logits = logits - options.frequency_penalty * self._counts - options.presence_penalty * (self._counts > 0)
        if self._bias is not None:
            logits = logits.index_add(0, *self._bias)
        if self._banned and self._written < options.min_tokens:
            logits = logits.index_fill(0, torch.tensor(self._banned), float("-inf"))
        return logits

    def _draw(self, logits: Tensor) -> int:
        options = self._options
        probabilities = torch.softmax(logits / options.temperature, dim=-1)
        if not options.top_k and options.top_p >= 1.0:
            return self._spin(probabilities)
        values, ids = most_probable(probabilities, options.top_k, options.top_p)
        return int(ids[self._spin(values)])

    def _spin(self, weights: Tensor) -> int:
        """An index, drawn in proportion to its weight."""
        mass = weights.cumsum(0, dtype=torch.float64)
        place = int(torch.searchsorted(mass, self._random.random() * float(mass[-1]), right=True))
        return min(place, len(weights) - 1)


def most_probable(probabilities: Tensor, top_k: int, top_p: float) -> tuple[Tensor, Tensor]:
    """(probabilities, ids) of the tokens that top_k and then top_p leave, best first; at least one."""
    size = len(probabilities)
    values, ids = probabilities.topk(min(top_k or NUCLEUS_GUESS, size))
    if not top_k and len(values) < size and float(values.sum()) < top_p:
        values, ids = probabilities.sort(descending=True)
    if top_p < 1.0:
        mass = values.cumsum(0, dtype=torch.float64)
        wanted = top_p * (float(mass[-1]) if top_k else 1.0)
        kept = int((mass - values < wanted).sum()) or 1
        values, ids = values[:kept], ids[:kept]
    return values, ids


def logprob_of(logits: Tensor, token: int, top: int) -> TokenLogprob:
    logprobs = torch.log_softmax(logits, dim=-1)
    best = logprobs.topk(min(top, len(logprobs))) if top else None
    alternatives = list(zip(best.indices.tolist(), best.values.tolist(), strict=True)) if best else []
    return TokenLogprob(token, float(logprobs[token]), alternatives)


def choose(logits: Tensor, samplers: Sequence[Sampler]) -> list[tuple[int, TokenLogprob | None]]:
    """One token for each row of logits [rows, vocabulary]; rows that only want the largest logit share one argmax."""
    if all(sampler.plain for sampler in samplers):
        return [(token, None) for token in logits.argmax(-1).tolist()]
    rows = logits.float().cpu()
    largest = rows.argmax(-1).tolist()
    return [(largest[row], None) if sampler.plain else sampler.pick(rows[row]) for row, sampler in enumerate(samplers)]
