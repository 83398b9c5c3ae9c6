"""A whole reply: anthropic.types.Message -> a chat completion (contract section 1)."""

import time
from typing import Any

import msgspec

from gateway.errors import UpstreamFailed
from gateway.upstreams.anthropic.wire import Block, Message, StopDetails, Usage, decode_message

FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
"""anthropic.types.StopReason -> finish_reason. `pause_turn` comes with tools of Anthropic's own, which are never asked."""

_encode = msgspec.json.Encoder().encode


def chat_completion(body: bytes, *, functions: bool = False) -> bytes:
    """OpenAI's reply for Anthropic's.

    Args:
        functions: the call defined functions, the form before tools, and expects to see one called.

    Raises:
        UpstreamFailed: it is no message.
    """
    try:
        message = decode_message(body)
    except (ValueError, RecursionError):
        raise UpstreamFailed("The upstream's reply is not a message of Anthropic's Messages API.") from None
    choice = {
        "index": 0,
        "message": _message(message, functions=functions),
        "logprobs": None,
        "finish_reason": finish_reason(message.stop_reason, functions=functions),
    }
    return _encode(
        {
            "id": message.id,
            "object": "chat.completion",
            "created": int(time.time()),
            "model": message.model,
            "choices": [choice],
            "usage": usage(message.usage),
        }
    )


def finish_reason(stop_reason: str | None, *, functions: bool = False) -> str:
    reason = FINISH_REASONS.get(stop_reason or "", "stop")
    return "function_call" if functions and reason == "tool_calls" else reason


def refusal_text(details: StopDetails | None) -> str | None:
    """What `message.refusal` says: why Anthropic stopped the reply."""
    return details.explanation if details else None


def usage(counted: Usage) -> dict[str, Any]:
    """OpenAI's usage. Anthropic counts input that came from its cache, or went into it, beside `input_tokens`; at OpenAI
    it is part of `prompt_tokens`."""
    read, written = counted.cache_read_input_tokens or 0, counted.cache_creation_input_tokens or 0
    prompt, completion = (counted.input_tokens or 0) + read + written, counted.output_tokens or 0
    thoughts = counted.output_tokens_details.thinking_tokens if counted.output_tokens_details else None
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": read, "cache_write_tokens": written},
        "completion_tokens_details": {"reasoning_tokens": thoughts or 0},
    }


def thinking_block(block: Block) -> dict[str, Any] | None:
    """A thought as it must come back with the next request; None for other blocks."""
    match block.type:
        case "thinking":
            return {"type": block.type, "thinking": block.thinking, "signature": block.signature}
        case "redacted_thinking":
            return {"type": block.type, "data": block.data}
        case _:
            return None


def _message(message: Message, *, functions: bool) -> dict[str, Any]:
    blocks = message.content
    text = "".join(block.text for block in blocks if block.type == "text")
    calls = [_tool_call(block) for block in blocks if block.type == "tool_use"]
    thoughts = [thought for block in blocks if (thought := thinking_block(block))]
    translated: dict[str, Any] = {
        "role": "assistant",
        "content": text or (None if calls else ""),
        "refusal": refusal_text(message.stop_details),
    }
    if thoughts:
        translated["thinking_blocks"] = thoughts
    if reasoning := "".join(block.thinking for block in blocks if block.type == "thinking"):
        translated["reasoning_content"] = reasoning
    if calls:
        translated |= {"function_call": calls[0]["function"]} if functions else {"tool_calls": calls}
    return translated


def _tool_call(block: Block) -> dict[str, Any]:
    function = {"name": block.name, "arguments": bytes(block.input).decode()}
    return {"id": block.id, "type": "function", "function": function}
