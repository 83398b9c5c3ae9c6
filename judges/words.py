"""The words of a text in any script: what the n-gram metrics, METEOR and the cosine count."""

import re
import unicodedata
from functools import lru_cache
from itertools import groupby

from judges.normal_form import nfc

_WORDLESS = (
    (0x0E00, 0x0E7F),  # Thai
    (0x0E80, 0x0EFF),  # Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x3400, 0x9FFF),  # Han
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)
"""Scripts that put no spaces between words: each character is a word of its own."""
KINDS_KEPT = 8192
"""Characters whose kind is remembered: looking it up is most of the time that a long text takes."""
_ascii = re.compile(r"[a-z0-9]+")


def words(text: str) -> list[str]:
    """Lower-case runs of letters, marks and digits.

    For ASCII this is the tokenizer of the rouge-score package (without its stemmer), which drops every other script: two
    equal Russian sentences score 0 there and 1 here.
    """
    lower = nfc(text).lower()
    if lower.isascii():
        return _ascii.findall(lower)
    found: list[str] = []
    for kind, run in groupby(lower, _kind):
        if kind == "word":
            found.append("".join(run))
        elif kind == "alone":
            found.extend(run)
    return found


def is_wordless(text: str) -> bool:
    """Whether any of it is in a script without spaces."""
    return not text.isascii() and any(_kind(character) == "alone" for character in text)


@lru_cache(maxsize=KINDS_KEPT)
def _kind(character: str) -> str:
    if unicodedata.category(character)[0] not in "LMN":
        return "between"
    return "alone" if any(low <= ord(character) <= high for low, high in _WORDLESS) else "word"
