"""Examples in the prompt of a call, where its route asks for them: the validated ones that are most like its question.

The upstream is sent a longer body, and budgets and rate limits count with that; the log keeps what the client sent.
"""

from dataclasses import dataclass
from typing import Any, cast

import msgspec

from gateway.examples.index import Shot, Wanted
from gateway.examples.shown import ShownExamples
from gateway.protocol.envelope import ChatEnvelope, Envelope, decode_fields, encode_fields
from gateway.protocol.routes import FewShot

SYSTEM = ("system", "developer")

_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is sent of a call."""

    body: bytes
    envelope: Envelope
    examples: int
    """How many are in it."""


async def prompted(
    shown: ShownExamples, project_id: str, wanted: FewShot, body: bytes, envelope: ChatEnvelope
) -> Prompt:
    """With the most similar examples behind the system messages, as turns of the conversation, the best one last."""
    messages = [_message(raw) for raw in envelope.messages]
    question = next((_text(each) for each in reversed(messages) if each.get("role") == "user"), "")
    limits = Wanted(
        count=wanted.count, tags=wanted.tags, max_tokens=wanted.max_tokens, min_score=wanted.min_score
    )  # fmt: skip
    shots = await shown.similar(project_id, question, limits) if question else []
    if not shots:
        return Prompt(body, envelope, 0)
    return _with(shots, messages, body, envelope)


def _with(shots: list[Shot], messages: list[dict[str, Any]], body: bytes, envelope: ChatEnvelope) -> Prompt:
    place = next((n for n, each in enumerate(messages) if each.get("role") not in SYSTEM), len(messages))
    turns = [raw for shot in reversed(shots) for raw in shot.messages]
    sent = [*envelope.messages[:place], *turns, *envelope.messages[place:]]
    fields = decode_fields(body)
    fields["messages"] = msgspec.Raw(encode_fields(sent))
    return Prompt(encode_fields(fields), msgspec.structs.replace(envelope, messages=sent), len(shots))


def _message(raw: msgspec.Raw) -> dict[str, Any]:
    """Whatever is no message is for the upstream to refuse."""
    try:
        value = _decode(raw)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _text(message: dict[str, Any]) -> str:
    content: Any = message.get("content")
    if isinstance(content, str):
        return content
    parts = cast("list[Any]", content) if isinstance(content, list) else []
    texts = [cast("dict[str, Any]", part).get("text") for part in parts if isinstance(part, dict)]
    return "\n".join(text for text in texts if isinstance(text, str))
