"""Figures of a whole test set that are no mean of its items' figures."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sacrebleu.metrics.bleu import BLEU

Tokenizer = Literal["13a", "zh", "char", "intl"]
"""Those of sacreBLEU's that download nothing."""


@dataclass(frozen=True, slots=True)
class Bleu:
    """Corpus BLEU."""

    score: float
    """0 to 100."""
    signature: str
    """What makes two scores comparable: quote it with them."""


def bleu(answers: Sequence[str], references: Sequence[str], tokenize: Tokenizer = "13a") -> Bleu | None:
    """Clipped n-gram precisions of the whole set, their geometric mean times the brevity penalty (Papineni et al. 2002),
    as sacreBLEU counts; None without items.

    Raises:
        ValueError: not one reference an answer, or another tokenizer.
    """
    if len(answers) != len(references):
        raise ValueError(f"{len(answers)} answers against {len(references)} references")
    if tokenize not in ("13a", "zh", "char", "intl"):
        raise ValueError(f"tokenizer {tokenize!r}: choose 13a, zh, char or intl")
    if not answers:
        return None
    metric: Any = BLEU(tokenize=tokenize)
    return Bleu(metric.corpus_score(list(answers), [list(references)]).score, str(metric.get_signature()))


@dataclass(frozen=True, slots=True)
class Perplexity:
    """Of completion tokens only. Comparable between models of one tokenizer; bits per byte between any."""

    value: float | None
    tokens: int
    bits_per_byte: float | None


def perplexity(answers: Iterable[tuple[Sequence[float], str]]) -> Perplexity:
    """exp of minus the mean log-probability of a token, over all tokens of all answers.

    Args:
        answers: natural log-probabilities of an answer's tokens, and its text.

    Raises:
        ValueError: a log-probability is above 0 or no number.
    """
    total, tokens, size = 0.0, 0, 0
    for logprobs, text in answers:
        if any(not value <= 0 for value in logprobs):
            raise ValueError("a log-probability is at most 0")
        total, tokens, size = total + sum(logprobs), tokens + len(logprobs), size + len(text.encode())
    if not tokens:
        return Perplexity(None, 0, None)
    return Perplexity(math.exp(min(-total / tokens, 700.0)), tokens, -total / math.log(2) / size if size else None)


@dataclass(frozen=True, slots=True)
class Labelling:
    """How predicted labels compare with the true ones. None where nothing was predicted, or there was nothing to find."""

    precision: float | None
    recall: float | None
    f1: float | None
    n: int


def labelling(predicted: Sequence[str], truth: Sequence[str]) -> Labelling:
    """Macro-averaged over the labels that are there, each counting alike. Raises ValueError."""
    pairs = list(zip(predicted, truth, strict=True))
    each = [_of_label(pairs, label) for label in sorted({*predicted, *truth})]
    if not each:
        return Labelling(None, None, None, 0)
    precision, recall, f1 = (sum(column) / len(each) for column in zip(*each, strict=True))
    return Labelling(precision, recall, f1, len(pairs))


def _of_label(pairs: Sequence[tuple[str, str]], label: str) -> tuple[float, float, float]:
    hits = sum(said == true == label for said, true in pairs)
    said, there = sum(said == label for said, _ in pairs), sum(true == label for _, true in pairs)
    return hits / said if said else 0.0, hits / there if there else 0.0, 2 * hits / (said + there)


@dataclass(frozen=True, slots=True)
class WinRate:
    """Of comparisons."""

    rate: float | None
    """Wins and half of the ties."""
    decisive_rate: float | None
    """Wins among what was decided."""
    wins: int
    losses: int
    ties: int


def win_rate(wins: int, losses: int, ties: int) -> WinRate:
    n, decisive = wins + losses + ties, wins + losses
    return WinRate((wins + ties / 2) / n if n else None, wins / decisive if decisive else None, wins, losses, ties)
