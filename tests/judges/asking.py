"""Models that answer as a test wants."""

import json
import re
from collections.abc import Callable
from typing import Any

from judges.ask import Answer, Question
from judges.grade import Tokens

TOKENS = Tokens(prompt=10, completion=5, cached=2)


class Asked:
    """An `Ask` that remembers its questions."""

    def __init__(
        self, reply: Callable[[Question], str], *, refusal: str | None = None, finish_reason: str = "stop"
    ) -> None:
        self.questions: list[Question] = []
        self._reply = reply
        self._refusal = refusal
        self._finish_reason = finish_reason

    async def __call__(self, question: Question) -> Answer:
        self.questions.append(question)
        text = self._reply(question)
        return Answer(text, self._refusal, self._finish_reason, f"{question.model}-2026", TOKENS)


def saying(text: str, **how: Any) -> Asked:
    return Asked(lambda question: text, **how)


def obedient(result: Any) -> Asked:
    """Answers as it was told to, with the key."""
    return Asked(lambda question: json.dumps({"key": key_of(question), "steps": [], "result": result}))


def echoing() -> Asked:
    """Repeats the last message: the weakest of judges."""
    return Asked(lambda question: question.messages[-1]["content"])


def key_of(question: Question) -> str:
    match = re.search(r'"key": "(\w+)"', question.messages[0]["content"])
    assert match is not None
    return match[1]


async def not_asked(question: Question) -> Answer:
    raise AssertionError(f"nobody was to be asked: {question}")
