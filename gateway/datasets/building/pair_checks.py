"""Which two answers make a pair that a model can learn a preference from.

Pairs that are nearly the same lower the likelihood of both answers (Smaug, arXiv 2402.13228; 2410.08847), ties teach
nothing, and a refusal that is preferred teaches to refuse.
"""

import re
from typing import Literal

from rapidfuzz.distance import Levenshtein

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
    return Levenshtein.distance(first, second, score_cutoff=enough) < enough


DECLINES = re.compile(
    r"((i['\u2019]?m|i am) (really |very |so |terribly )?(sorry|afraid)[^.!]{0,60}?|sorry,? (but )?|unfortunately,? )?"
    r"(i (can(no|['\u2019])t|am (unable|not able) to|won['\u2019]t) (help|assist|answer|provide|comply|do|discuss|share|fulfil"
    r"|create|generate|write)|as an ai\b)"
    r"|(es tut mir leid[^.!]{0,40}|leider )?(das )?kann ich (dir |ihnen )?(dabei |damit )?(leider )?nicht"
    r"|(je suis d\u00e9sol\u00e9e?[^.!]{0,40})?je ne peux pas|(lo siento[^.!]{0,40})?no puedo (ayudar|responder)"
    r"|(mi dispiace[^.!]{0,40})?non posso (aiutar|rispond)|(\u5bf9\u4e0d\u8d77|\u62b1\u6b49)?[\uff0c,]?\u6211\u65e0\u6cd5",
    re.IGNORECASE,
)
OPENING = 200
"""Characters within which an answer says that it declines."""


def declines(text: str) -> bool:
    """Whether an answer begins with declining to answer."""
    return DECLINES.match(text[:OPENING].lstrip()) is not None
