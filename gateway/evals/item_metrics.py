"""The figures of one answer beside its reference, and what those of a whole run are added up from."""

from dataclasses import dataclass
from typing import Any

from sacrebleu.metrics.bleu import BLEU

from judges.metrics.answers import exact_match, length_ratio, normalised, rouge_l, token_f1
from judges.text_similarity import MAX_CHARACTERS
from judges.words import is_wordless

LABEL_LENGTH = 64
"""Characters: a longer reference is no label of anything."""
_bleu: dict[str, Any] = {name: BLEU(tokenize=name) for name in ("13a", "char")}


@dataclass(frozen=True, slots=True)
class ItemMetrics:
    """As `eval_output_items.metrics` keeps it."""

    numbers: dict[str, float]
    """By metric, each from 0 to 1 but for `length_ratio`."""
    bleu: list[int]
    """n-grams that match, n-grams that there are (1 to 4 each), words of the answer and of the reference."""
    tokenizer: str
    labels: list[str] | None
    """The answer and the reference, where the reference may be a label."""


def beside(answer: str, reference: str) -> ItemMetrics:
    """Of texts of any length in time of their length: ROUGE-L, whose time is the product of both, is left out of longer ones."""
    numbers = {"exact_match": exact_match(answer, reference), "token_f1": token_f1(answer, reference)}
    if max(len(answer), len(reference)) <= MAX_CHARACTERS:
        numbers["rouge_l"] = rouge_l(answer, reference)
    ratio = length_ratio(answer, reference)
    tokenizer = "char" if is_wordless(reference) else "13a"
    counted = _bleu[tokenizer].corpus_score([answer], [[reference]])
    said, right = normalised(answer), normalised(reference)
    return ItemMetrics(
        numbers if ratio is None else {**numbers, "length_ratio": ratio},
        [*counted.counts, *counted.totals, counted.sys_len, counted.ref_len],
        tokenizer,
        [said[:LABEL_LENGTH], right] if len(right) <= LABEL_LENGTH else None,
    )


def stored(
    found: ItemMetrics | None,
    log_probabilities: tuple[float, ...] | None,
    answer: str,
    usage: dict[str, Any],
    took_ms: float | None = None,
) -> dict[str, Any]:
    """The column. Args: took_ms: the call that was answered."""
    kept: dict[str, Any] = {"usage": usage} if usage else {}
    if took_ms is not None:
        kept["took_ms"] = round(took_ms, 1)
    if found:
        kept |= {"numbers": found.numbers, "bleu": found.bleu, "tokenizer": found.tokenizer}
        kept |= {"labels": found.labels} if found.labels else {}
    if log_probabilities:
        kept["log_probabilities"] = [sum(log_probabilities), len(log_probabilities), len(answer.encode())]
    return kept
