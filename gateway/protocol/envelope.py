"""The few fields of a model call that the gateway decides on; everything else passes through untouched."""

from typing import Any

import msgspec


class StreamOptions(msgspec.Struct):
    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None
    """vLLM's extension."""


class ChatEnvelope(msgspec.Struct):
    """POST /chat/completions (contract section 1)."""

    model: str
    messages: list[msgspec.Raw]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    metadata: dict[str, str] | None = None
    user: msgspec.Raw = msgspec.Raw(b"null")
    """As it came: whatever it is, the upstream judges it."""


class CompletionEnvelope(msgspec.Struct):
    """POST /completions (contract section 4)."""

    model: str
    prompt: msgspec.Raw = msgspec.Raw(b"null")
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    metadata: dict[str, str] | None = None
    user: msgspec.Raw = msgspec.Raw(b"null")
    """As it came: whatever it is, the upstream judges it."""


Envelope = ChatEnvelope | CompletionEnvelope

decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
encode_fields = msgspec.json.Encoder().encode


def ask_for_usage(body: bytes, options: StreamOptions | None, *, running: bool) -> bytes:
    """The body with `stream_options.include_usage`, and usage with every chunk if `running`; the rest as it came."""
    fields = decode_fields(body)
    wanted: dict[str, Any] = msgspec.json.decode(fields["stream_options"]) if options else {}
    wanted["include_usage"] = True
    if running:
        wanted["continuous_usage_stats"] = True
    fields["stream_options"] = msgspec.Raw(encode_fields(wanted))
    return encode_fields(fields)
