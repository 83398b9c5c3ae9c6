"""Which two answers make a pair that a model can learn a preference from.

Pairs that are nearly the same lower the likelihood of both answers (Smaug, arXiv 2402.13228; 2410.08847), ties teach
nothing, and a refusal that is preferred teaches to refuse.
"""

from typing import Literal

from gateway.protocol.recipes import Pairs
from judges.words import words

Fault = Literal["identical", "near_identical", "few_differing_tokens", "refusal_chosen"]


def fault_of(chosen: str, rejected: str, rules: Pairs, *, refusals: tuple[bool, bool] = (False, False)) -> Fault | None:
    """What speaks against a pair, if anything does.

    Args:
        refusals: whether the chosen and the rejected answer decline to answer.
    """
    if normalised(chosen) == normalised(rejected):
        return "identical"
    from rapidfuzz.distance import Levenshtein  # 3 MB, for those who build datasets

    if Levenshtein.normalized_similarity(chosen, rejected, score_cutoff=rules.max_similarity) > rules.max_similarity:
        return "near_identical"
    if differ_little(chosen, rejected, rules.min_differing_tokens):
        return "few_differing_tokens"
    if refusals == (True, False) and not rules.allow_refusals:
        return "refusal_chosen"
    return None


def normalised(text: str) -> str:
    """Without case, white space and punctuation, unless there is nothing else to it."""
    return " ".join(words(text)) or " ".join(text.split())


def differ_little(chosen: str, rejected: str, least: int) -> bool:
    """Fewer than `least` words would have to be changed to make one the other. Of answers that are shorter than that
    themselves, any difference is enough that leaves no word in its place."""
    first, second = words(chosen), words(rejected)
    enough = min(least, max(len(first), len(second)))
    from rapidfuzz.distance import Levenshtein  # as in fault_of

    return Levenshtein.distance(first, second, score_cutoff=enough) < enough
