"""What is judged: an answer, and what it answered to."""

from dataclasses import dataclass, field
from typing import Any, cast

Message = dict[str, Any]
"""OpenAI's chat message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One choice of one chat completion."""

    messages: list[Message]
    """Of the request, in order."""
    answer: Message
    """The assistant's: `content`, `tool_calls`, `refusal`."""
    tools: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """As the request declared them."""
    response_format: dict[str, Any] | None = None
    finish_reason: str | None = None
    model: str = ""
    """That answered."""

    @property
    def text(self) -> str:
        """Of the answer; empty where it only calls tools."""
        return text_of(self.answer)

    @property
    def tool_calls(self) -> list[Any]:
        """As the answer has them. What a model or its server wrote there may be no tool call at all."""
        calls = self.answer.get("tool_calls") or []
        return cast("list[Any]", calls) if isinstance(calls, list) else [calls]

    @property
    def question(self) -> str:
        """Of the last message that a user wrote."""
        asked = [message for message in self.messages if message.get("role") == "user"]
        return text_of(asked[-1]) if asked else ""


def text_of(message: Message) -> str:
    """The text of a message, its parts one below the other; what is no text is left out."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = cast("list[Any]", content) if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return "\n".join(text for text in texts if isinstance(text, str))


def called(call: Any) -> tuple[str, dict[str, Any]] | None:
    """Kind and content of a tool call, or of a declared tool: ("function", {"name": ...}); None of what is neither."""
    if not isinstance(call, dict):
        return None
    fields = cast("dict[str, Any]", call)
    kind = fields.get("type", "function")
    content = fields.get(kind) if isinstance(kind, str) else None
    return (kind, cast("dict[str, Any]", content)) if isinstance(content, dict) else None
