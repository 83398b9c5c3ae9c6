"""Tokens out of an upstream's reply."""

import math
from typing import Annotated, Any

import msgspec

from gateway.kit.embedded import EMBEDDED_TOKENS, apart

Tokens = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
"""A count beyond it is a mistake, and its cost would fit no database column."""


class _PromptDetails(msgspec.Struct):
    cached_tokens: Tokens | None = None


class _WireUsage(msgspec.Struct):
    """OpenAI's usage object; embeddings leave completion_tokens out."""

    prompt_tokens: Tokens | None = None
    completion_tokens: Tokens | None = None
    prompt_tokens_details: _PromptDetails | None = None


class _Metered(msgspec.Struct):
    """As it should be."""

    id: str | None = None
    usage: _WireUsage | None = None


class _Strange(msgspec.Struct):
    """Of what is wrong in one of them, the other counts."""

    id: Any = None
    usage: msgspec.Raw = msgspec.Raw(b"null")


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one exchange. Cached input is part of input."""

    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    estimated: bool = False


_decode = msgspec.json.Decoder(_Metered).decode
_decode_strange = msgspec.json.Decoder(_Strange).decode
_decode_usage = msgspec.json.Decoder(_WireUsage | None, strict=False).decode

CHARACTERS_A_TOKEN = 4
"""OpenAI's rule of thumb for English; used only when an upstream never tells its usage."""


def read_usage(body: bytes) -> tuple[str | None, Usage | None]:
    """The reply's id and usage from a JSON body or one chunk; None for what is not there."""
    try:
        metered = _decode(body)
    except (ValueError, RecursionError):
        return _read_strange(body)
    return metered.id, _usage(metered.usage)


def estimate_usage(request: bytes, reply: str) -> Usage:
    """A guess from sizes, marked as one: four characters a token, rounded up. Args: reply: its generated text."""
    size, embedded = apart(request)
    return Usage(
        input_tokens=math.ceil(size / CHARACTERS_A_TOKEN) + embedded * EMBEDDED_TOKENS,
        cached_input_tokens=0,
        output_tokens=math.ceil(len(reply) / CHARACTERS_A_TOKEN),
        estimated=True,
    )


def completed(known: Usage | None, request: bytes, reply: str) -> Usage:
    """Of a stream that was cut: what is known of it (Anthropic's models tell the input first), and a guess at the rest."""
    guess = estimate_usage(request, reply)
    if known is None:
        return guess
    if known.output_tokens or not guess.output_tokens:
        return known
    return msgspec.structs.replace(known, output_tokens=guess.output_tokens, estimated=True)


def _read_strange(body: bytes) -> tuple[str | None, Usage | None]:
    """What can be read of it; counts may be written as strings."""
    try:
        metered = _decode_strange(body)
    except (ValueError, RecursionError):
        return None, None
    id = metered.id if isinstance(metered.id, str) else None
    try:
        return id, _usage(_decode_usage(metered.usage))
    except (ValueError, RecursionError):
        return id, None


def _usage(wire: _WireUsage | None) -> Usage | None:
    if wire is None or (wire.prompt_tokens is None and wire.completion_tokens is None):
        return None
    cached = wire.prompt_tokens_details.cached_tokens if wire.prompt_tokens_details else 0
    tokens = wire.prompt_tokens or 0
    return Usage(tokens, min(cached or 0, tokens), wire.completion_tokens or 0)
