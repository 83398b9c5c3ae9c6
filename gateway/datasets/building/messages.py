"""Logged messages as lines of training files: what the trainer takes, and nothing else."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import msgspec

from gateway.protocol.recipes import System

Json = dict[str, Any]

SYSTEM_ROLES = ("system", "developer")
CONVERSATION_KEYS = ("conversation_id", "thread_id", "session_id")
"""Metadata of a call that names its conversation."""

_encode = msgspec.json.Encoder(order="deterministic").encode


class NotText(Exception):
    """A message that cannot be trained on: images, audio, files."""


def cleaned(message: Mapping[str, Any]) -> Json:
    """A message of the log with the fields that training files have. Raises NotText."""
    kept: Json = {"role": message.get("role")}
    if message.get("name"):
        kept["name"] = message["name"]
    if message.get("tool_call_id") is not None:
        kept["tool_call_id"] = message["tool_call_id"]
    calls = message.get("tool_calls")
    if calls:
        kept["tool_calls"] = [_call(call) for call in calls]
    if isinstance(function := message.get("function_call"), dict):
        kept["function_call"] = {"name": function.get("name"), "arguments": function.get("arguments")}
    content = _content(message.get("content"), message.get("refusal"))
    if content is not None or not (calls or "function_call" in kept):
        kept["content"] = content
    return kept


def _call(call: Any) -> Json:
    function: Any = call.get("function") if isinstance(call, dict) else None
    if not isinstance(call, dict) or not isinstance(function, dict):
        raise NotText
    named = cast("Json", function)
    return {
        "id": cast("Json", call).get("id"),
        "type": "function",
        "function": {"name": named.get("name"), "arguments": named.get("arguments")},
    }


def _content(content: Any, refusal: Any) -> str | None:
    """Parts become one text, as the trainer would join them; a refusal is what the assistant said."""
    if isinstance(content, list):
        texts = [_text(part) for part in cast("list[Any]", content)]
        return "\n".join(text for text in texts if text)
    if isinstance(content, str):
        return content
    if content is not None:
        raise NotText
    return refusal if isinstance(refusal, str) else None


def _text(part: Any) -> str:
    if isinstance(part, dict):
        for kind in ("text", "refusal"):
            if part.get("type") == kind and isinstance(part.get(kind), str):
                return cast("str", part[kind])
    raise NotText


def with_system(messages: Sequence[Json], system: System) -> list[Json]:
    """The messages with the system prompt that the recipe wants."""
    if system.prompt == "keep":
        return list(messages)
    rest = [message for message in messages if message["role"] not in SYSTEM_ROLES]
    return rest if system.prompt == "drop" else [{"role": "system", "content": system.text}, *rest]


def written(message: Mapping[str, Any]) -> str:
    """The text of a cleaned message, with the calls of tools in it."""
    calls = [call["function"] for call in message.get("tool_calls") or ()]
    if message.get("function_call"):
        calls.append(message["function_call"])
    called = [f"{call['name']} {call['arguments']}" for call in calls]
    return "\n".join(filter(None, [message.get("content"), *called]))


def question_of(messages: Sequence[Json]) -> str:
    """What was asked, without system prompts: they are the same in all rows of a product."""
    return "\n".join(text for message in messages if message["role"] not in SYSTEM_ROLES if (text := written(message)))


def conversation_of(messages: Sequence[Json], metadata: Mapping[str, Any] | None) -> str:
    """What is the same in all calls of a conversation: an id in their metadata, else their first messages.

    The same opening as for routes that keep conversations at one target (gateway/routing/choice.py).
    """
    for key in CONVERSATION_KEYS:
        if named := (metadata or {}).get(key):
            return hashlib.sha256(f"{key}:{named}".encode()).hexdigest()[:32]
    opening: list[Json] = []
    for message in messages:
        opening.append(message)
        if message["role"] not in SYSTEM_ROLES:
            break
    return key_of(opening)


def key_of(value: Any) -> str:
    """32 hex digits, the same for equal values."""
    return hashlib.sha256(_encode(value)).hexdigest()[:32]


def keys_so_far(values: Iterable[Any]) -> Iterator[str]:
    """`key_of` of the first value as a list, of the first two, and so on; each value is encoded once."""
    running = hashlib.sha256(b"[")
    for place, value in enumerate(values):
        running.update((b"," if place else b"") + _encode(value))
        so_far = running.copy()
        so_far.update(b"]")
        yield so_far.hexdigest()[:32]


def line_of(value: Any) -> bytes:
    """One line of a file: the same bytes for equal values, in the order that people read it in."""
    return msgspec.json.encode(value) + b"\n"
