"""Unicode's normal forms, of texts that anybody may have written.

Marks above and below a letter are brought into order by insertion: 100,000 on one letter take half a minute, which nothing
can interrupt. After 30 of them a joiner that is not seen begins anew, as Unicode's Stream-Safe Text Format has it (UAX 15).
"""

import unicodedata

MOST_MARKS = 30
"""On one letter; the longest run in any language is 18."""
JOINER = "\u034f"
_HALF_WIDTH = "\uff9e\uff9f"
"""Marks of Katakana that are letters by their category, and marks once they are normalised."""


def nfc(text: str) -> str:
    return unicodedata.normalize("NFC", _stream_safe(text))


def nfkc(text: str) -> str:
    return unicodedata.normalize("NFKC", _stream_safe(text))


def _stream_safe(text: str) -> str:
    """A run that is too long has a mark at one of the places looked at first; hardly any text has one."""
    if text.isascii() or not any(map(_is_mark, text[::MOST_MARKS])):
        return text
    safe: list[str] = []
    run = 0
    for character in text:
        run = run + 1 if _is_mark(character) else 0
        if run > MOST_MARKS:
            safe.append(JOINER)
            run = 1
        safe.append(character)
    return "".join(safe)


def _is_mark(character: str) -> bool:
    return unicodedata.category(character)[0] == "M" or character in _HALF_WIDTH
