"""What was asked and answered, as a person reads it: messages in their order, each of parts.

Nothing of a body is trusted: an application may send anything, and it is shown, whatever it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import msgspec

LONG = 3000
"""Characters; a longer text is folded."""
BEGINNING = 300
"""Characters of a folded text that are shown."""
KINDS = {
    "image_url": "Image",
    "input_image": "Image",
    "input_audio": "Sound",
    "audio": "Sound",
    "file": "File",
}


@dataclass(frozen=True, slots=True)
class Part:
    """Of a message. `kind`: text, json (pretty-printed), or other (named, not shown)."""

    kind: str
    text: str
    title: str = ""

    @property
    def is_long(self) -> bool:
        return len(self.text) > LONG

    @property
    def beginning(self) -> str:
        return self.text[:BEGINNING]


@dataclass(frozen=True, slots=True)
class Said:
    """One message."""

    role: str
    parts: list[Part]
    title: str = ""
    """Beside the role: which answer of several, a tool's name."""


def asked(request: Any) -> list[Said]:
    """Of the body of a call, empty when it has no messages and no prompt."""
    body = _dict(request)
    messages = body.get("messages")
    if isinstance(messages, list):
        return [_said(message) for message in cast("list[Any]", messages)]
    return [Said("prompt", list(_content(body["prompt"])))] if "prompt" in body else []


def answers(reply: Any) -> list[Said]:
    """Of the body of a reply, one for each choice."""
    choices = _dicts(_dict(reply).get("choices"))
    return [_answer(choice, number if len(choices) > 1 else None) for number, choice in enumerate(choices)]


def tools(request: Any) -> list[Part]:
    """What the model was offered."""
    found = _dicts(_dict(request).get("tools"))
    return [Part("json", pretty(tool), _name(_dict(tool.get("function")) or tool)) for tool in found]


def unreadable(exchange: dict[str, Any]) -> list[Part]:
    """Bodies that were no JSON."""
    titles = {"request_text": "What was sent is no JSON", "reply_text": "What was answered is no JSON"}
    return [Part("text", exchange[name], title) for name, title in titles.items() if exchange.get(name)]


def settings(request: Any) -> dict[str, str]:
    """How the model was asked: whatever is no message and no tool."""
    shown = {name: value for name, value in _dict(request).items() if name not in ("messages", "tools", "prompt")}
    return {name: value if isinstance(value, str) else _json(value) for name, value in shown.items()}


def text_of_answer(reply: Any, choice_index: int = 0) -> str:
    """What it says; of tool calls their names and arguments."""
    found = answers(reply)
    if choice_index >= len(found):
        return ""
    return "\n".join(f"{part.title} {part.text}".strip() for part in found[choice_index].parts)


def pretty(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def _said(message: Any) -> Said:
    known = _dict(message)
    if not known:
        return Said("?", [Part("json", pretty(message))])
    parts = [*_content(known.get("content")), *_refusal(known), *_calls(known)]
    return Said(str(known.get("role", "?")), parts, str(known.get("name") or known.get("tool_call_id") or ""))


def _answer(choice: dict[str, Any], number: int | None) -> Said:
    title = f"answer {number + 1}" if number is not None else ""
    ended = choice.get("finish_reason")
    if ended not in (None, "stop"):
        title = f"{title} ended: {ended}".strip()
    if isinstance(choice.get("message"), dict):
        said = _said(choice["message"])
        return Said(said.role, said.parts, title)
    return Said("assistant", list(_content(choice.get("text"))), title)


def _content(content: Any) -> Iterator[Part]:
    if isinstance(content, str):
        yield _text(content)
    elif isinstance(content, list):
        for part in cast("list[Any]", content):
            yield _part(part)
    elif content is not None:
        yield Part("json", pretty(content))


def _part(part: Any) -> Part:
    if isinstance(part, str):
        return _text(part)
    known = _dict(part)
    if isinstance(known.get("text"), str):
        return _text(known["text"])
    kind = str(known.get("type", ""))
    if kind in KINDS:
        return Part("other", _named(known.get(kind)), KINDS[kind])
    return Part("json", pretty(part))


def _named(value: Any) -> str:
    """Where it is, or of what type and how long it is."""
    known = _dict(value)
    text = str(known.get("url") or known.get("filename") or known.get("file_id") or known.get("format") or "")
    if text.startswith("data:"):
        return f"{text[5:].partition(';')[0]}, {len(text):,} characters"
    return text if len(text) <= 200 else f"{text[:199]}\u2026"


def _text(text: str) -> Part:
    """JSON in a text is pretty-printed."""
    stripped = text.strip()
    if stripped.startswith(("{", "[")):
        try:
            return Part("json", msgspec.json.format(stripped, indent=2))
        except msgspec.DecodeError:
            pass
    return Part("text", text)


def _refusal(known: dict[str, Any]) -> Iterator[Part]:
    if isinstance(known.get("refusal"), str):
        yield Part("text", known["refusal"], "Refusal")


def _calls(known: dict[str, Any]) -> Iterator[Part]:
    for call in _dicts(known.get("tool_calls")):
        function = _dict(call.get("function"))
        arguments = function.get("arguments")
        text = _text(arguments).text if isinstance(arguments, str) else pretty(arguments)
        yield Part("json", text, f"Calls {_name(function)}")


def _name(known: dict[str, Any]) -> str:
    return str(known.get("name") or known.get("type") or "?")


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _dict(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _dicts(values: Any) -> list[dict[str, Any]]:
    return [each for each in cast("list[Any]", values) if isinstance(each, dict)] if isinstance(values, list) else []
