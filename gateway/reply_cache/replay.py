"""A kept reply as it is given again: as a whole, or as the stream that it could have been (contract section 1, "Chunks")."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import msgspec

PIECE = 200
"""Characters of text in one chunk: what is already known need not come word by word."""
CHUNKS = {"chat.completion": "chat.completion.chunk"}
OF_TOKENS = {"content", "refusal"}
"""What log-probabilities are of."""
ONLY_OF_STREAMS = ("obfuscation",)
"""Pads the chunks of OpenAI's streams; no whole reply has it."""

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Again:
    """A kept reply, made for one call."""

    id: str
    body: bytes
    frames: list[bytes] | None
    """Of a stream, up to but without [DONE]."""


def again(kept: bytes, request_id: str, *, streamed: bool, usage: bool) -> Again:
    """Args: usage: the client of a stream asked for it. Raises whatever it is for what is no reply in OpenAI's form; such
    are not kept (storable.py)."""
    id = reply_id(kept, request_id)
    body = whole(kept, id)
    return Again(id, body, list(frames(body, usage=usage)) if streamed else None)


def reply_id(kept: bytes, request_id: str) -> str:
    """An id of its own, so that feedback and stored completions name one exchange: `chatcmpl-` or whatever the first reply's
    began with, and the number of the call."""
    first = str(_decode(kept).get("id") or "")
    head, dash, _ = first.partition("-")
    return f"{head if dash else 'chatcmpl'}-{request_id.removeprefix('req_')}"


def whole(kept: bytes, id: str) -> bytes:
    """The body, all but its id as it was."""
    fields = _fields(kept)
    fields["id"] = msgspec.Raw(_encode(id))
    for name in ONLY_OF_STREAMS:
        fields.pop(name, None)
    return _encode(fields)


def frames(body: bytes, *, usage: bool) -> Iterator[bytes]:
    """Server-sent events up to but without [DONE].

    Args:
        body: as `whole` gives it.
        usage: the client asked for `stream_options.include_usage`.
    """
    read = _decode(body)
    choices, told = cast("list[Json]", read.pop("choices")), read.pop("usage", None)
    head = read | {"object": CHUNKS.get(read.get("object", ""), read.get("object"))}
    silent: Json = {"usage": None} if usage else {}
    for place, choice in enumerate(choices):
        index = choice.get("index", place)
        for piece in _pieces(choice):
            yield _frame(head | {"choices": [{"index": index} | piece]} | silent)
    if usage:
        yield _frame(head | {"choices": [], "usage": told})


def _pieces(choice: Json) -> Iterator[Json]:
    """Of one choice, in its order, the last one with its finish_reason."""
    rest = {
        name: choice[name] for name in choice if name not in ("index", "message", "text", "logprobs", "finish_reason")
    }
    end = {"finish_reason": choice.get("finish_reason")} | rest
    logprobs = choice.get("logprobs")
    if "message" not in choice:
        for piece in _split(choice.get("text") or "", logprobs):
            yield piece | {"finish_reason": None}
        yield {"text": "", "logprobs": None} | end
        return
    for delta in _deltas(choice["message"], whole_content=logprobs is not None):
        told = logprobs if "role" not in delta and delta.keys() & OF_TOKENS else None
        logprobs = None if told is not None else logprobs
        yield {"delta": delta, "logprobs": told, "finish_reason": None}
    yield {"delta": {}, "logprobs": logprobs} | end


def _deltas(message: Json, *, whole_content: bool) -> Iterator[Json]:
    content, calls = message.get("content"), message.get("tool_calls") or []
    first: Json = {"role": message.get("role", "assistant")}
    yield first | ({"content": ""} if isinstance(content, str) else {"content": None})
    for name, value in message.items():
        if name in ("role", "tool_calls") or value is None or value in ("", []):
            continue
        if isinstance(value, str) and not whole_content:
            yield from ({name: value[at : at + PIECE]} for at in range(0, len(value), PIECE))
        else:
            yield {name: value}
    for index, call in enumerate(calls):
        yield {"tool_calls": [{"index": index} | call]}


def _split(text: str, logprobs: Any) -> Iterator[Json]:
    """Log-probabilities belong to tokens, whose borders are not known here: with them the text is one piece."""
    size = max(1, len(text)) if logprobs is not None else PIECE
    for at in range(0, len(text), size):
        yield {"text": text[at : at + size], "logprobs": logprobs}


def _frame(chunk: Json) -> bytes:
    return b"data: " + _encode(chunk) + b"\n\n"
