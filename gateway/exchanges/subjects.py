"""Logged exchanges as subjects of judgments and of data: the messages, and the answer to them."""

from collections.abc import Iterator
from typing import Any, cast

import msgspec

from judges.subject import Message, Subject

MOST_CHOICES = 128
"""Of a reply: OpenAI's `n`."""
_decode = msgspec.json.Decoder().decode


def subject(request: bytes, reply: bytes | None, choice_index: int = 0) -> Subject | None:
    """What an exchange says; None when it has no such choice, or its bodies are not kept or are no chat.

    A text completion counts as a question and its answer.

    Args:
        request: the body as it came.
        reply: the body, of a stream the assembled one.
    """
    asked, answered = _object(request), _object(reply or b"")
    choice = next((choice for index, choice in _choices(answered) if index == choice_index), None)
    if choice is None:
        return None
    messages, answer = _messages(asked), _answer(choice)
    if messages is None or answer is None:
        return None
    wanted, tools = asked.get("response_format"), asked.get("tools")
    return Subject(
        messages=messages,
        answer=answer,
        tools=[
            tool for tool in (cast("list[Any]", tools) if isinstance(tools, list) else []) if isinstance(tool, dict)
        ],
        response_format=wanted if isinstance(wanted, dict) else None,
        finish_reason=choice.get("finish_reason"),
        model=str(answered.get("model") or ""),
    )


def choice_indexes(reply: bytes | None) -> list[int]:
    """Of the choices that a reply has, ascending."""
    return sorted({index for index, _ in _choices(_object(reply or b"")) if _is_index(index)})


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MOST_CHOICES


def _choices(answered: dict[str, Any]) -> Iterator[tuple[Any, dict[str, Any]]]:
    choices = answered.get("choices")
    for place, choice in enumerate(cast("list[Any]", choices) if isinstance(choices, list) else []):
        if isinstance(choice, dict):
            yield cast("dict[str, Any]", choice).get("index", place), cast("dict[str, Any]", choice)


def _messages(asked: dict[str, Any]) -> list[Message] | None:
    if isinstance(prompt := asked.get("prompt"), str):
        return [{"role": "user", "content": prompt}]
    messages = asked.get("messages")
    if not isinstance(messages, list) or not all(isinstance(each, dict) for each in messages):
        return None
    return cast("list[Message]", messages)


def _answer(choice: dict[str, Any]) -> Message | None:
    if isinstance(message := choice.get("message"), dict):
        return cast("Message", message)
    return {"role": "assistant", "content": choice["text"]} if isinstance(choice.get("text"), str) else None


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = _decode(body)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
