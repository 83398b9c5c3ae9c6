"""Which language a text is in. py3langid has its model inside; reading it takes a second or two, at the first text."""

from functools import cache
from threading import Lock
from typing import Any

import py3langid

from judges.rules.formats import Language
from judges.rules.rule import Outcome, verdict
from judges.subject import Subject, text_of
from judges.words import words

ENOUGH = 2000
"""Characters by which a language is told; of more it would take milliseconds."""
_classifier: Any = py3langid
_reading = Lock()


def told_apart() -> frozenset[str]:
    """ISO 639 codes."""
    with _reading:  # py3langid lets every thread that comes before the first is done read a model of its own
        return _told_apart()


@cache
def _told_apart() -> frozenset[str]:
    return frozenset(str(code) for code, _ in _classifier.rank("a"))


def language_of(text: str) -> str:
    """The likeliest one's code, by the beginning of a text. Code in fences is left out."""
    told_apart()
    plain = "\n".join(part for place, part in enumerate(text.split("```")) if place % 2 == 0)
    return str(_classifier.classify((plain or text)[:ENOUGH])[0])


def in_language(rule: Language, subject: Subject) -> Outcome:
    text = subject.text
    if len(words(text)) < rule.least_words:
        return verdict(True, "The answer is too short to tell its language.", language=None)
    wanted = rule.languages or _asked_in(rule, subject)
    if not wanted:
        return verdict(True, "The question is too short to tell its language.", language=None)
    said = language_of(text)
    return verdict(said in wanted, f"The answer is in '{said}', wanted was {', '.join(wanted)}.", language=said)


def _asked_in(rule: Language, subject: Subject) -> tuple[str, ...]:
    """The language of the question; where it is too short, of what the user said before it; none where all of that is."""
    said = [text_of(message) for message in subject.messages if message.get("role") == "user"]
    long_enough = next((text for text in reversed(said) if len(words(text)) >= rule.least_words), None)
    return (language_of(long_enough),) if long_enough is not None else ()
