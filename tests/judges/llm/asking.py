"""Judges that say what a test wants, and subjects for them."""

import json
from typing import Any

from judges.ask import Answer
from judges.grade import Tokens
from judges.llm.criterion import Criterion
from judges.llm.questions import Asked, Brief
from judges.subject import Subject

HELPFUL = Criterion(name="helpful", kind="numeric", description="Does it help?", lowest=1, highest=5, pass_score=0.75)
BETTER = Criterion(name="preference", kind="pairwise", description="Which one is better?")
BRIEF = Brief(criterion=HELPFUL)


def subject(answer: str, question: str = "hello") -> Subject:
    messages = [{"role": "user", "content": question}]
    return Subject(messages=messages, answer={"role": "assistant", "content": answer}, model="candidate")


def said(text: str, **more: Any) -> Answer:
    given: dict[str, Any] = {"refusal": None, "finish_reason": "stop", "model": "judge", "tokens": Tokens()} | more
    return Answer(text=text, **given)


def verdict(asked: Asked, result: Any, **more: Any) -> str:
    """What an obedient judge says."""
    return json.dumps({"key": asked.key, "reason": "because", "result": result} | more)


def echoed(asked: Asked, *, whole: bool = False) -> str:
    """What a judge says that repeats the user's message, or everything that it was told."""
    messages = asked.question.messages if whole else asked.question.messages[-1:]
    return "\n".join(message["content"] for message in messages)
