"""The metrics of the grader text_similarity, each from 0 to 1.

| metric | definition here |
|---|---|
| fuzzy_match | RapidFuzz `WRatio` after its `default_process`, as the Python grader of OpenAI's guide does it |
| bleu | sacreBLEU's sentence BLEU (smooth exp, effective order); tokenizer 13a, `zh` or `char` by the reference's script |
| gleu | Wu et al. 2016 (arXiv 1609.08144), n-grams of 1 to 4 over the same tokens; as nltk's sentence_gleu |
| meteor | judges/meteor.py: exact and stem matches, no synonyms |
| rouge_1 .. rouge_5, rouge_l | F-measure of n-gram overlap and of the longest common subsequence, as the rouge-score package; words of any script |
| cosine | cosine of the two texts' word counts. OpenAI takes the cosine of embeddings; without an embedding model this measures shared words, not shared meaning |

Two texts without any token are equal (1) when both are empty of them and different (0) when one is.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence

from judges.grade import GraderFailed
from judges.graders import Metric
from judges.meteor import meteor
from judges.words import words

MAX_CHARACTERS = 50_000
"""Of either text."""
MAX_WINDOWS = 200_000_000_000
"""The longer text times the square of the shorter one, where a fuzzy match looks for the one within the other: some
seconds. It looks where one text is half as long again as the other; 30,000 characters within 50,000 take half an hour."""
WINDOWS_FROM = 1.5
"""RapidFuzz's `WRatio`: from this ratio of the lengths on."""
GLEU_ORDER = 4


def similarity(metric: Metric, hypothesis: str, reference: str) -> float:
    """How alike two texts are.

    Raises:
        GraderFailed: truncated_observation_error when one is longer than MAX_CHARACTERS, or both are too long for a fuzzy
            match; nothing is cut, because the grade of a part is not the grade of the whole.
    """
    for name, text in (("input", hypothesis), ("reference", reference)):
        if len(text) > MAX_CHARACTERS:
            raise GraderFailed(
                "truncated_observation_error",
                f"the {name} has {len(text)} characters; text_similarity compares up to {MAX_CHARACTERS}",
            )
    return min(1.0, max(0.0, _METRICS[metric](hypothesis, reference)))


def fuzzy_match(hypothesis: str, reference: str) -> float:
    from rapidfuzz import fuzz, utils  # libraries come with the metrics: a process that only stores graders needs none

    if hypothesis == reference:
        return 1.0  # also of nothing but signs, which default_process takes away
    left, right = utils.default_process(hypothesis), utils.default_process(reference)
    shorter, longer = sorted((len(left), len(right)))
    if longer >= WINDOWS_FROM * shorter and longer * shorter**2 > MAX_WINDOWS:
        raise GraderFailed(
            "truncated_observation_error",
            f"fuzzy_match cannot look for {shorter} characters within {longer}: shorten the texts, or use another metric",
        )
    return fuzz.WRatio(left, right) / 100


def bleu(hypothesis: str, reference: str) -> float:
    from judges.sacre_bleu import sentence_score, tokenized  # as for fuzzy_match

    left, right = tokenized(hypothesis, reference)
    if not left or not right:
        return _of_nothing(left, right)
    return sentence_score(left, right)


def gleu(hypothesis: str, reference: str) -> float:
    from judges.sacre_bleu import tokenized  # as for fuzzy_match

    left, right = tokenized(hypothesis, reference)
    if not left or not right:
        return _of_nothing(left, right)
    grams = [_up_to(tokens, GLEU_ORDER) for tokens in (left, right)]
    return (grams[0] & grams[1]).total() / max(grams[0].total(), grams[1].total())


def rouge_n(order: int, hypothesis: str, reference: str) -> float:
    """Two texts shorter than `order` words share no n-gram: 0, as in rouge-score, even when they are equal."""
    left, right = words(hypothesis), words(reference)
    if not left or not right:
        return _of_nothing(left, right)
    grams = [_ngrams(tokens, order) for tokens in (left, right)]
    if not grams[0] or not grams[1]:
        return 0.0
    return 2 * (grams[0] & grams[1]).total() / (grams[0].total() + grams[1].total())


def rouge_l(hypothesis: str, reference: str) -> float:
    from rapidfuzz.distance import LCSseq  # as for fuzzy_match

    left, right = words(hypothesis), words(reference)
    if not left or not right:
        return _of_nothing(left, right)
    return 2 * LCSseq.similarity(left, right) / (len(left) + len(right))


def cosine(hypothesis: str, reference: str) -> float:
    left, right = Counter(words(hypothesis)), Counter(words(reference))
    if not left or not right:
        return _of_nothing(left, right)
    dot = sum(count * right[word] for word, count in left.items())
    return dot / math.sqrt(_square(left) * _square(right))


def _meteor(hypothesis: str, reference: str) -> float:
    left, right = words(hypothesis), words(reference)
    return meteor(left, right) if left and right else _of_nothing(left, right)


def _of_nothing(left: object, right: object) -> float:
    return float(not left and not right)


def _square(counts: Counter[str]) -> int:
    return sum(count * count for count in counts.values())


def _ngrams(tokens: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(tokens[at : at + order]) for at in range(len(tokens) - order + 1))


def _up_to(tokens: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    return sum((_ngrams(tokens, each) for each in range(1, order + 1)), Counter[tuple[str, ...]]())


def _rouge(order: int) -> Callable[[str, str], float]:
    return lambda hypothesis, reference: rouge_n(order, hypothesis, reference)


_METRICS: dict[Metric, Callable[[str, str], float]] = {
    "cosine": cosine,
    "fuzzy_match": fuzzy_match,
    "bleu": bleu,
    "gleu": gleu,
    "meteor": _meteor,
    "rouge_1": _rouge(1),
    "rouge_2": _rouge(2),
    "rouge_3": _rouge(3),
    "rouge_4": _rouge(4),
    "rouge_5": _rouge(5),
    "rouge_l": rouge_l,
}
