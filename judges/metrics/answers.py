"""One answer beside its reference: a number from 0 to 1, whatever the language."""

import re
import unicodedata
from collections import Counter

from judges.normal_form import nfc
from judges.text_similarity import rouge_l as rouge_l
from judges.words import words

_articles = re.compile(r"\b(?:a|an|the)\b")


def normalised(text: str) -> str:
    """As SQuAD compares answers (Rajpurkar et al. 2016): lower case, no punctuation, no English articles, single spaces."""
    lower = nfc(text).lower()
    plain = "".join(character for character in lower if unicodedata.category(character)[0] not in "PS")
    return " ".join(_articles.sub(" ", plain).split())


def exact_match(answer: str, reference: str) -> float:
    """1 when both are alike once normalised."""
    return float(normalised(answer) == normalised(reference))


def raw_match(answer: str, reference: str) -> float:
    """1 when both are equal, character by character."""
    return float(answer == reference)


def token_f1(answer: str, reference: str) -> float:
    """SQuAD's F1 of the bags of words: 1 when both are empty, 0 when one is. Scripts without spaces count by character."""
    left, right = words(normalised(answer)), words(normalised(reference))
    if not left or not right:
        return float(not left and not right)
    shared = (Counter(left) & Counter(right)).total()
    return 2 * shared / (len(left) + len(right))


def length_ratio(answer: str, reference: str) -> float | None:
    """Words of the answer for each of the reference; None beside an empty reference."""
    against = len(words(reference))
    return len(words(answer)) / against if against else None
