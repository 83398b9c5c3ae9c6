"""What a text looks like: its script, damaged characters, and its bare form for near duplicates."""

import re
from collections import Counter
from functools import lru_cache
from typing import Literal

Script = Literal["latin", "cyrillic", "greek", "arabic", "hebrew", "indic", "thai", "han", "kana", "hangul"]

LOOKED_AT = 160
"""Characters of a text that decide about its script."""
ENOUGH = 8
"""Letters without which a text has no script."""

_SCRIPTS: tuple[tuple[int, int, Script], ...] = (
    (0x41, 0x24F, "latin"), (0x370, 0x3FF, "greek"), (0x400, 0x52F, "cyrillic"), (0x590, 0x5FF, "hebrew"),
    (0x600, 0x77F, "arabic"), (0x900, 0xDFF, "indic"), (0xE00, 0xE7F, "thai"), (0x1100, 0x11FF, "hangul"),
    (0x1E00, 0x1EFF, "latin"), (0x3040, 0x30FF, "kana"), (0x3400, 0x9FFF, "han"), (0xAC00, 0xD7AF, "hangul"),
    (0xF900, 0xFAFF, "han"), (0x20000, 0x3FFFF, "han"),
)  # fmt: skip

_DAMAGED = re.compile("\ufffd|\u00c3[\u0080-\u00bf]|\u00e2\u20ac|\u00c2[\u00a0-\u00bf]|\u00ef\u00bb\u00bf")
"""U+FFFD, and UTF-8 that was read as Windows-1252 or Latin-1: \u00c3\u00a9 for \u00e9."""
_LETTERS = re.compile(rf"(?:[^A-Za-z]*[A-Za-z]){{{ENOUGH}}}")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")

_TABLE = bytes.maketrans(bytes(range(65, 91)), bytes(range(97, 123)))
_DROPPED = bytes(code for code in range(128) if not chr(code).isalpha())


def script_of(text: str) -> Script | None:
    """The script of most of its letters; Japanese is kana, however many Han characters it has. None: too few letters."""
    opening = text[:LOOKED_AT]
    if opening.isascii():
        return "latin" if _LETTERS.match(opening) else None
    counts: Counter[Script] = Counter()
    for letter in opening:
        if letter.isalpha() and (script := _script(ord(letter))):
            counts[script] += 1
    if not counts or counts.total() < (ENOUGH if not counts["han"] + counts["kana"] + counts["hangul"] else 2):
        return None
    if counts["kana"] * 10 > counts.total():
        return "kana"
    return max(counts, key=lambda script: counts[script])


def has(text: str, script: Script) -> bool:
    """Whether some of the text is in that script: an answer that quotes the question's language is no mismatch."""
    return any(_script(ord(letter)) == script for letter in text[:LOOKED_AT] if letter.isalpha())


def is_damaged(text: str, *, look_for_control: bool) -> bool:
    """Whether characters were lost or confused on the way here, or are not meant to be read."""
    if not text.isascii() and _DAMAGED.search(text):
        return True
    return look_for_control and _CONTROL.search(text) is not None


def bare(text: str) -> bytes:
    """Without capitals, numbers, white space and ASCII punctuation."""
    return text.encode().translate(_TABLE, _DROPPED)


@lru_cache(maxsize=1 << 16)
def _script(code: int) -> Script | None:
    return next((script for first, last, script in _SCRIPTS if first <= code <= last), None)
