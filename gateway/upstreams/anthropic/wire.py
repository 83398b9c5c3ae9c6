"""What Anthropic sends, as far as it is translated: anthropic.types.Message and RawMessageStreamEvent.

Fields beyond these are skipped. Blocks, deltas and events of a type that is not known are too: "new variants to
enum-like output values (for example, streaming event types)" may come at any time (platform.claude.com/docs/en/api/versioning).
"""

from typing import Literal

import msgspec

_EMPTY = msgspec.Raw(b"{}")


class OutputTokensDetails(msgspec.Struct):
    thinking_tokens: int | None = None


class Usage(msgspec.Struct):
    """In a stream each event tells the sums so far, and null or nothing for what it has told before."""

    input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    output_tokens: int | None = None
    output_tokens_details: OutputTokensDetails | None = None


class StopDetails(msgspec.Struct):
    """Of a refusal."""

    explanation: str | None = None


class Block(msgspec.Struct, omit_defaults=True):
    """A content block: text, tool_use, thinking, redacted_thinking, or one that is not translated."""

    type: str
    text: str = ""
    id: str = ""
    name: str = ""
    input: msgspec.Raw = _EMPTY
    thinking: str = ""
    signature: str = ""
    data: str = ""


class Message(msgspec.Struct):
    type: Literal["message"]
    id: str
    model: str
    content: list[Block]
    stop_reason: str | None = None
    stop_details: StopDetails | None = None
    usage: Usage = msgspec.field(default_factory=Usage)


class Delta(msgspec.Struct):
    """Of content_block_delta (with a type) or message_delta (without)."""

    type: str = ""
    text: str = ""
    partial_json: str = ""
    thinking: str = ""
    signature: str = ""
    stop_reason: str | None = None
    stop_details: StopDetails | None = None


class WireError(msgspec.Struct):
    type: str = ""
    message: str = ""


class Event(msgspec.Struct):
    """One event's `data`. Which fields it has depends on its type."""

    type: str
    message: Message | None = None
    index: int = 0
    content_block: Block | None = None
    delta: Delta | None = None
    usage: Usage | None = None
    error: WireError | None = None


decode_message = msgspec.json.Decoder(Message).decode
decode_event = msgspec.json.Decoder(Event).decode
