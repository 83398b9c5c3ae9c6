"""Which language a text is in. py3langid has its model inside; reading it takes a second or two, at the first text."""

from functools import cache
from typing import Any

import py3langid

_classifier: Any = py3langid


@cache
def known() -> frozenset[str]:
    """ISO 639 codes."""
    return frozenset(str(code) for code, _ in _classifier.rank("a"))


def language_of(text: str) -> str:
    """The likeliest one's code. Code in fences is left out."""
    plain = "\n".join(part for place, part in enumerate(text.split("```")) if place % 2 == 0)
    return str(_classifier.classify(plain or text)[0])
