"""Texts as rules read them: sentences, content words, and what an answer could lean on."""

import re

from judges.subject import Subject, text_of
from judges.words import words

_end = re.compile(r"(?<=[.!?\u2026])[\"')\]\u201d\u2019]*\s+|(?<=[\u3002\uff01\uff1f])|\n+")
_bullet = re.compile(r"^\s*(?:[-*\u2022]|\d+[.)])\s+")
_MIN_WORD = 3
"""Letters of a word that says something; shorter ones are mostly particles. Scripts without spaces have words of one."""
_STOP = frozenset(
    """
    the and for are was were has have had not but with this that these those from they them their there then than you your
    our his her its can could will would shall should may might into onto over under out off about which what when where
    who whom how why all any some each also been being does did done just only very more most much many such other
    der die das und ist sind war ein eine einen nicht mit von auf den dem des les une est sont pas pour que qui
    dans avec los las una por para con del como
    """.split()  # noqa: SIM905 a list would be three screens long
)
"""Words that say nothing on their own."""


def sentences(text: str) -> list[str]:
    """The parts of a text that claim something: split at full stops and lines, without bullets, headings and fences."""
    found: list[str] = []
    for piece in _end.split(text):
        plain = _bullet.sub("", piece).strip()
        if plain and not plain.startswith(("#", "```")) and words(plain):
            found.append(plain)
    return found


def content_words(text: str) -> list[str]:
    """Words that say something."""
    return [
        word
        for word in words(text)
        if (len(word) >= _MIN_WORD or not word.isascii() or word.isdigit()) and word not in _STOP
    ]


def context_of(subject: Subject, roles: tuple[str, ...]) -> str:
    """Everything that messages of these roles say, one below the other."""
    said = [text_of(message) for message in subject.messages if message.get("role") in roles]
    return "\n\n".join(text for text in said if text)
