"""The few fields of a model call that the gateway decides on; everything else passes through untouched."""

from typing import Any

import msgspec

from gateway.protocol.decode import decode

ABSENT = msgspec.Raw(b"null")


class StreamOptions(msgspec.Struct, frozen=True):
    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None
    """vLLM's extension."""


NO_OPTIONS = StreamOptions()
"""Left out."""


class ChatEnvelope(msgspec.Struct):
    """POST /chat/completions (contract section 1)."""

    model: str
    messages: list[msgspec.Raw]
    stream: bool | None = None
    stream_options: StreamOptions | None = NO_OPTIONS
    metadata: dict[str, str] | None = None
    user: msgspec.Raw = ABSENT
    """As it came: whatever it is, the upstream judges it. So with everything below."""
    safety_identifier: msgspec.Raw = ABSENT
    store: msgspec.Raw = ABSENT
    max_completion_tokens: msgspec.Raw = ABSENT
    max_tokens: msgspec.Raw = ABSENT
    n: msgspec.Raw = ABSENT
    tools: msgspec.Raw = ABSENT
    functions: msgspec.Raw = ABSENT
    prediction: msgspec.Raw = ABSENT


class CompletionEnvelope(msgspec.Struct):
    """POST /completions (contract section 4)."""

    model: str
    prompt: msgspec.Raw = ABSENT
    stream: bool | None = None
    stream_options: StreamOptions | None = NO_OPTIONS
    metadata: dict[str, str] | None = None
    user: msgspec.Raw = ABSENT
    """As it came: whatever it is, the upstream judges it. So with everything below."""
    max_tokens: msgspec.Raw = ABSENT
    n: msgspec.Raw = ABSENT
    best_of: msgspec.Raw = ABSENT


Envelope = ChatEnvelope | CompletionEnvelope

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_any_fields = msgspec.json.Decoder(dict[str, Any])
encode_fields = msgspec.json.Encoder().encode
_decode_whole = msgspec.json.Decoder(int).decode


def decode_fields(body: bytes) -> dict[str, msgspec.Raw]:
    """Every field, as it came. Raises InvalidJson: one that no envelope has is not JSON, or no UTF-8."""
    return decode(_fields, body)


def ask_for_usage(body: bytes, options: StreamOptions | None, *, running: bool) -> bytes:
    """The body with `stream_options.include_usage`, and usage with every chunk if `running`; the rest as it came.

    Raises InvalidRequest: the options, or a name in the body, cannot be read.
    """
    asked = {"include_usage": True, "continuous_usage_stats": True} if running else {"include_usage": True}
    if options is NO_OPTIONS:
        return add_field(body, "stream_options", asked)
    said = decode(_any_fields, bytes(decode_fields(body)["stream_options"])) if options else {}
    wanted = said | asked
    return body if wanted == said else with_field(body, "stream_options", wanted)


def is_absent(raw: msgspec.Raw) -> bool:
    """Left out, or null."""
    return raw is ABSENT or bytes(raw) == b"null"


def is_true(raw: msgspec.Raw) -> bool:
    return raw is not ABSENT and bytes(raw) == b"true"


def starts_list(raw: msgspec.Raw) -> bool:
    return bytes(memoryview(raw)[:1]) == b"["


def whole_number(raw: msgspec.Raw) -> int:
    """What it says; 0 for anything that is no whole number above 0."""
    if raw is ABSENT:
        return 0
    try:
        return max(0, _decode_whole(raw))
    except (ValueError, RecursionError):
        return 0


def limit_answer(body: bytes, envelope: Envelope, tokens: int) -> bytes:
    """The body of a call that leaves the length of its answer open, with a limit of `tokens`; the rest as it came.

    Args:
        envelope: of this body.
    """
    is_chat = isinstance(envelope, ChatEnvelope)
    name, said = (
        ("max_completion_tokens", envelope.max_completion_tokens) if is_chat else ("max_tokens", envelope.max_tokens)
    )
    return add_field(body, name, tokens) if said is ABSENT else with_field(body, name, tokens)


def with_field(body: bytes, name: str, value: Any) -> bytes:
    """The body, an object that is not empty, with that field; the rest as it came, to the byte where it has no such field.
    Raises InvalidJson."""
    quoted = encode_fields(name)
    if quoted in body or b"\\u00" in body:  # it is there, or may be: a letter of its name can be written so
        fields = decode_fields(body)
        fields[name] = msgspec.Raw(encode_fields(value))
        return encode_fields(fields)
    return add_field(body, name, value)


def add_field(body: bytes, name: str, value: Any) -> bytes:
    """The same for a field that is known not to be there: large bodies are not searched for it, and copied once."""
    end = body.rindex(b"}")
    return b"".join((memoryview(body)[:end], b",", encode_fields(name), b":", encode_fields(value), b"}"))
