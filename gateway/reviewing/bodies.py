"""What an exchange of the log says: what was asked, and an answer to it. An upstream may have sent anything."""

import hashlib
from dataclasses import dataclass
from typing import Any, cast

import msgspec

from gateway.db.tables import ExchangeRow

Json = dict[str, Any]
SYSTEM_ROLES = ("system", "developer")
_encode = msgspec.json.Encoder(order="deterministic").encode


@dataclass(frozen=True, slots=True)
class Question:
    messages: list[Json]
    tools: list[Any] | None

    @property
    def key(self) -> str:
        """The same for those that ask the same, whatever the system prompt."""
        asked = [each for each in self.messages if each.get("role") not in SYSTEM_ROLES]
        return hashlib.sha256(_encode(asked)).hexdigest()


@dataclass(frozen=True, slots=True)
class Said:
    """One choice of a reply."""

    message: Json
    finish_reason: str | None

    @property
    def key(self) -> str:
        """The same for those that say the same; ids of tool calls are chosen anew each time."""
        calls = [each.get("function") for each in _objects(self.message.get("tool_calls"))]
        return hashlib.sha256(_encode([self.message.get("content"), self.message.get("refusal"), calls])).hexdigest()


def question_of(row: ExchangeRow) -> Question | None:
    """None: its texts are not in the log, or they are no chat and no prompt."""
    body = _object(row.request)
    if body is None:
        return None
    tools = body.get("tools")
    kept = cast("list[Any]", tools) if isinstance(tools, list) and tools else None
    if messages := _objects(body.get("messages")):
        return Question(messages, kept)
    prompt = body.get("prompt")
    return Question([{"role": "user", "content": prompt}], None) if isinstance(prompt, str) and prompt else None


def answers_of(row: ExchangeRow) -> dict[int, Said]:
    """Index of a choice -> what it says; those that say nothing are left out."""
    body = _object(row.reply)
    found: dict[int, Said] = {}
    for place, choice in enumerate(_objects(body.get("choices") if body else None)):
        index = choice.get("index")
        said = _said(choice)
        if said is not None:
            found[index if isinstance(index, int) else place] = said
    return found


def text_of(message: Json) -> str:
    """What of a message can be read and edited."""
    content = message.get("content")
    if isinstance(content, list):
        parts = _objects(cast("Any", content))
        content = "\n".join(part["text"] for part in parts if isinstance(part.get("text"), str))
    return content if isinstance(content, str) else str(message.get("refusal") or "")


def _said(choice: Json) -> Said | None:
    message = choice.get("message")
    if isinstance(choice.get("text"), str):
        message = {"role": "assistant", "content": choice["text"]}
    if not isinstance(message, dict):
        return None
    whole = cast("Json", message)
    if not (text_of(whole) or whole.get("tool_calls") or whole.get("function_call")):
        return None
    reason = choice.get("finish_reason")
    return Said(whole, reason if isinstance(reason, str) else None)


def _object(body: bytes | None) -> Json | None:
    try:
        found = msgspec.json.decode(body) if body else None
    except (ValueError, RecursionError):
        return None
    return cast("Json", found) if isinstance(found, dict) else None


def _objects(value: Any) -> list[Json]:
    every = cast("list[Any]", value) if isinstance(value, list) else []
    return [cast("Json", each) for each in every if isinstance(each, dict)]
