"""What an exchange says, as a person looks for it: the last question and the answer to it, without what came before.

A conversation repeats all of its turns in each call, so that only the last of them is new. Of a picture or a sound there
is its kind, of a tool's call its name and arguments.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import msgspec

SEARCHED_CHARACTERS = 20_000
"""Of the question, and as much of the answer."""
SHOWN_CHARACTERS = 200
"""Of each, in lists."""

_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Texts:
    question: str
    answer: str

    @property
    def searched(self) -> str:
        return f"{self.question}\n{self.answer}"


def texts_of(request: bytes, reply: bytes | None) -> Texts:
    """Empty where there is none, or where it is no JSON."""
    asked, answered = _object(request), _object(reply or b"")
    try:
        return _texts_of(asked, answered)
    except RecursionError:  # parts in parts in parts
        return Texts("", "")


def _texts_of(asked: dict[str, Any], answered: dict[str, Any]) -> Texts:
    return Texts(_bounded(_question(asked)), _bounded(" ".join(_answers(answered))))


def first_words(text: str) -> str:
    """One line of it."""
    line = " ".join(text[: SHOWN_CHARACTERS * 4].split())
    return line if len(line) <= SHOWN_CHARACTERS else line[: SHOWN_CHARACTERS - 1] + "\u2026"


def _question(asked: dict[str, Any]) -> str:
    """The last message of somebody else than the model; of a text completion its prompt."""
    messages = asked.get("messages")
    if not isinstance(messages, list):
        return " ".join(_texts(asked.get("prompt")))
    for message in reversed(cast("list[Any]", messages)):
        if isinstance(message, dict) and cast("dict[str, Any]", message).get("role") != "assistant":
            return " ".join(_texts(cast("dict[str, Any]", message).get("content")))
    return ""


def _answers(answered: dict[str, Any]) -> Iterator[str]:
    for choice in _dicts(answered.get("choices")):
        message = choice.get("message")
        if not isinstance(message, dict):
            yield from _texts(choice.get("text"))
            continue
        said = cast("dict[str, Any]", message)
        yield from _texts(said.get("content"))
        yield from _texts(said.get("refusal"))
        yield from _calls(said)


def _calls(said: dict[str, Any]) -> Iterator[str]:
    for call in _dicts(said.get("tool_calls")):
        for function in _dicts([call.get("function")]):
            yield from _texts(function.get("name"))
            yield from _texts(function.get("arguments"))


def _texts(content: Any) -> Iterator[str]:
    """Of a text, a list of texts, or parts of a message."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in cast("list[Any]", content):
            if isinstance(part, dict):
                known = cast("dict[str, Any]", part)
                yield from _texts(known.get("text") if "text" in known else f"[{known.get('type', 'part')}]")
            elif isinstance(part, str):
                yield part


def _dicts(values: Any) -> list[dict[str, Any]]:
    return [each for each in cast("list[Any]", values) if isinstance(each, dict)] if isinstance(values, list) else []


def _bounded(text: str) -> str:
    """PostgreSQL's text holds no NUL character."""
    return text[:SEARCHED_CHARACTERS].replace("\x00", "\ufffd").encode(errors="replace").decode()


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = _decode(body)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
