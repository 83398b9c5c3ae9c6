"""Tokens out of an upstream's reply."""

import math

import msgspec


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None


class _WireUsage(msgspec.Struct):
    """OpenAI's usage object; embeddings leave completion_tokens out."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _PromptDetails | None = None


class _Metered(msgspec.Struct):
    id: str | None = None
    usage: _WireUsage | None = None


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one exchange. Cached input is part of input."""

    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    estimated: bool = False


_decode = msgspec.json.Decoder(_Metered).decode

CHARACTERS_A_TOKEN = 4
"""OpenAI's rule of thumb for English; used only when an upstream never tells its usage."""


def read_usage(body: bytes) -> tuple[str | None, Usage | None]:
    """The reply's id and usage from a JSON body or one chunk; None for what is not there."""
    try:
        metered = _decode(body)
    except msgspec.DecodeError:
        return None, None
    return metered.id, _usage(metered.usage) if metered.usage else None


def estimate_usage(request: bytes, reply: str) -> Usage:
    """A guess from sizes, marked as one: four characters a token, rounded up."""
    return Usage(
        input_tokens=math.ceil(len(request) / CHARACTERS_A_TOKEN),
        cached_input_tokens=0,
        output_tokens=math.ceil(len(reply) / CHARACTERS_A_TOKEN),
        estimated=True,
    )


def _usage(wire: _WireUsage) -> Usage:
    cached = wire.prompt_tokens_details.cached_tokens if wire.prompt_tokens_details else 0
    return Usage(wire.prompt_tokens, min(cached or 0, wire.prompt_tokens), wire.completion_tokens)
