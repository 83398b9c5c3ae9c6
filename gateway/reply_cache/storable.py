"""Which replies may be kept: whole, successful, with their usage, and nothing in them that ends before they do."""

from typing import Any

import msgspec

from gateway.reply_cache import replay

WHOLE = frozenset({"stop", "tool_calls", "function_call"})
CUT = "length"
"""As whole as it was asked for, where the call itself says how long an answer may be."""


class _Message(msgspec.Struct):
    audio: Any = None
    """Has an id that ends within the hour (contract section 1)."""


class _Choice(msgspec.Struct):
    finish_reason: str | None = None
    message: _Message | None = None


class _Reply(msgspec.Struct):
    choices: list[_Choice]
    usage: dict[str, Any]
    """A stream whose upstream never told it cannot be given as a whole reply, which always tells it."""
    id: str = ""


_decode = msgspec.json.Decoder(_Reply).decode


class _Lengths(msgspec.Struct):
    max_completion_tokens: int | None = None
    max_tokens: int | None = None


_lengths = msgspec.json.Decoder(_Lengths).decode


def is_storable(reply: bytes, request: bytes) -> bool:
    """
    Args:
        reply: a JSON body.
        request: as the client sent it.
    """
    try:
        read = _decode(reply)
    except (ValueError, RecursionError):
        return False
    ends = {choice.finish_reason for choice in read.choices}
    if not ends or any(choice.message and choice.message.audio for choice in read.choices):
        return False
    if not (ends <= WHOLE or (ends <= WHOLE | {CUT} and _names_length(request))):
        return False
    return _can_be_given(reply)


def _can_be_given(reply: bytes) -> bool:
    """Whether it has the form that it takes to say it again; an upstream may send anything."""
    try:
        replay.again(reply, "", streamed=True, usage=True)
    except (ValueError, RecursionError, TypeError, AttributeError, KeyError):
        return False
    return True


def _names_length(request: bytes) -> bool:
    try:
        said = _lengths(request)
    except (ValueError, RecursionError):
        return False
    return said.max_completion_tokens is not None or said.max_tokens is not None
