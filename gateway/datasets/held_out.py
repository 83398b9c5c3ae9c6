"""A training example as an item of an eval: what was asked, and the answer that it holds."""

from typing import Any


def of_example(example: dict[str, Any]) -> dict[str, Any] | None:
    """`input`, messages, and `expected`, a text; None of what holds no answer in words."""
    found = _of_chat(example) or _of_pair(example)
    return {"input": found[0], "expected": found[1]} if found else None


def _of_chat(example: dict[str, Any]) -> tuple[list[Any], str] | None:
    """Everything up to the last answer, and that answer."""
    messages: Any = example.get("messages")
    if not isinstance(messages, list) or len(messages) < 2:
        return None
    last: Any = messages[-1]
    return (messages[:-1], last["content"]) if _is_answer(last) else None


def _of_pair(example: dict[str, Any]) -> tuple[list[Any], str] | None:
    """The better answer of the two."""
    said: Any = example.get("input")
    asked: Any = said.get("messages") if isinstance(said, dict) else None
    answers: Any = example.get("preferred_output") or example.get("preferred_completion")
    if not isinstance(asked, list) or not asked or not isinstance(answers, list) or not _is_answer(answers[-1]):
        return None
    return [*asked, *answers[:-1]], answers[-1]["content"]


def _is_answer(message: Any) -> bool:
    return isinstance(message, dict) and message.get("role") == "assistant" and isinstance(message.get("content"), str)
