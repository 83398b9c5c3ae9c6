"""Two texts, word by word: what is in both, what was taken out, and what was put in."""

import re
from collections.abc import Iterator
from difflib import SequenceMatcher

MOST_WORDS = 2000
"""Of each; longer texts are shown without the comparison, which would take too long."""
_words = re.compile(r"\w+\s*|[^\w\s]\s*|\s+")


def word_diff(old: str, new: str) -> list[tuple[str, str]] | None:
    """("same" | "del" | "ins", text), in order; None for texts that are too long."""
    before, after = _words.findall(old), _words.findall(new)
    if max(len(before), len(after)) > MOST_WORDS:
        return None
    return list(_changes(before, after))


def _changes(before: list[str], after: list[str]) -> Iterator[tuple[str, str]]:
    for kind, i, j, k, m in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind == "equal":
            yield "same", "".join(before[i:j])
            continue
        if i < j:
            yield "del", "".join(before[i:j])
        if k < m:
            yield "ins", "".join(after[k:m])
