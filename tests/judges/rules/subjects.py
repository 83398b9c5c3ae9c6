"""Answers for rules."""

from typing import Any

from judges.subject import Subject


def answered(text: str | None, *context: str, question: str = "What is it?", **more: Any) -> Subject:
    """An answer to a question, below system messages."""
    messages = [{"role": "system", "content": each} for each in context]
    answer: dict[str, Any] = {"role": "assistant", "content": text}
    if "tool_calls" in more:
        answer["tool_calls"] = more.pop("tool_calls")
    return Subject(messages=[*messages, {"role": "user", "content": question}], answer=answer, **more)
