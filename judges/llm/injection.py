"""Texts that speak to their judge.

A verdict that was read properly stands: these marks are kept with it, so that a person can look at what earned a high
score by them. They are no proof; an honest answer about prompts has them, too.
"""

import re
from collections.abc import Iterable

from judges.normal_form import nfkc

_PATTERNS = {
    "instruction": r"\b(?:ignore|disregard|forget|override)\b.{0,40}\b(?:instruction|prompt|rule|criteri|above|previous)",
    "verdict": r"[\"'{\[]\s*(?:key|result|score|grade|rating|verdict)[\"']?\s*:",
    "grade": r"(?:^|\n)[ \t\r*#>_]*(?:grade|score|rating|verdict|final answer)[\s*_]*[:=]",
    "preference": r"\[\[\s*[ab1-9]\s*\]\]",
    "role": r"<\|?/?(?:im_start|im_end|system|assistant|user|eot_id|start_header_id)\|?>|\[/?INST\]|<<\s*/?SYS\s*>>",
    "material": r"\bend of material\b",
    "judge": r"\b(?:dear|attention|note to|instructions? (?:for|to)|message to)\b.{0,20}\b(?:judge|grader|evaluator)",
}
_compiled = {name: re.compile(pattern, re.IGNORECASE | re.DOTALL) for name, pattern in _PATTERNS.items()}
LOOKED_AT = 100_000
"""Characters of each text."""


def markers(texts: Iterable[str]) -> list[str]:
    """Names of the kinds of marks that are in any of the texts, sorted."""
    plain = [nfkc(text[:LOOKED_AT]) for text in texts]
    return sorted(name for name, pattern in _compiled.items() if any(pattern.search(text) for text in plain))
