"""An event stream: anthropic.types.RawMessageStreamEvent -> chunks (contract section 1, "Chunks").

    message_start                     noted; the first chunk waits for content, so that an upstream which breaks before it
                                      can still be replaced by another
    content_block_start tool_use      role; a tool call with id and name
    content_block_delta               text_delta -> content; input_json_delta -> arguments; thinking_delta ->
                                      reasoning_content; signature_delta is kept for the block's end
    content_block_stop                a tool call without arguments gets its "{}"; a thought goes out as thinking_blocks
    message_delta                     finish_reason
    message_stop                      usage, [DONE]
    ping                              a comment
    error                             an error object; nothing after it

Events may come for several blocks at once. Those of an unknown type are skipped.
"""

import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec

from gateway.errors import UpstreamFailed
from gateway.upstreams.anthropic.errors import error_object
from gateway.upstreams.anthropic.reply import finish_reason, refusal_text, thinking_block, usage
from gateway.upstreams.anthropic.wire import Block, Delta, Event, Usage, WireError, decode_event

PING = b": ping"
DONE = b"data: [DONE]"
_encode = msgspec.json.Encoder().encode


async def chunks(events: AsyncIterator[bytes], *, functions: bool = False) -> AsyncIterator[bytes]:
    """OpenAI's events for Anthropic's, each without its blank line.

    Args:
        functions: the call defined functions, the form before tools, and expects to see one called.

    A stream that is cut before its message_delta ends without a finish_reason, and without [DONE].

    Raises:
        UpstreamFailed: an event is not one of Anthropic's.
    """
    translation = Translation(functions=functions)
    async for event in events:
        for translated in translation.take(event):
            yield translated
        if translation.ended:
            return
    for translated in translation.end():
        yield translated


class Translation:
    """One stream on its way."""

    def __init__(self, *, functions: bool) -> None:
        self.ended = False
        self._functions = functions
        self._created = int(time.time())
        self._id = ""
        self._model = ""
        self._usage = Usage()
        self._begun = False
        self._finished = False
        self._blocks: dict[int, Block] = {}
        """Open blocks by Anthropic's index, with what deltas added to thoughts."""
        self._calls: dict[int, int] = {}
        """Anthropic's index of a tool call -> OpenAI's."""
        self._without_arguments: set[int] = set()

    def take(self, event: bytes) -> Iterator[bytes]:
        """What an event becomes. Raises UpstreamFailed."""
        if not (payload := _data(event)):
            return
        match (read := _read(payload)).type:
            case "message_start" if read.message:
                self._id, self._model = read.message.id, read.message.model
                self._count(read.message.usage)
            case "content_block_start" if read.content_block:
                yield from self._open(read.index, read.content_block)
            case "content_block_delta" if read.delta:
                yield from self._add(read.index, read.delta)
            case "content_block_stop":
                yield from self._close(read.index)
            case "message_delta":
                yield from self._finish(read)
            case "message_stop":
                yield from self.end()
            case "ping":
                yield PING
            case "error":
                self.ended = True
                yield _error_event(read.error or WireError("api_error", "It told no reason."))
            case _:
                pass

    def end(self) -> Iterator[bytes]:
        """Usage and [DONE], if there was a finish_reason."""
        if self._finished and not self.ended:
            yield self._frame([], usage=usage(self._usage))
            yield DONE
        self.ended = True

    def _open(self, index: int, block: Block) -> Iterator[bytes]:
        self._blocks[index] = block
        if block.type == "tool_use":
            self._calls[index] = number = len(self._calls)
            self._without_arguments.add(index)
            call = {"id": block.id, "type": "function"}
            yield from self._call(number, call, {"name": block.name, "arguments": ""})
        elif block.type == "text" and block.text:
            yield from self._delta({"content": block.text})

    def _add(self, index: int, delta: Delta) -> Iterator[bytes]:
        match delta.type:
            case "text_delta" if delta.text:
                yield from self._delta({"content": delta.text})
            case "input_json_delta" if delta.partial_json and index in self._calls:
                self._without_arguments.discard(index)
                yield from self._arguments(index, delta.partial_json)
            case "thinking_delta" if delta.thinking:
                if thought := self._blocks.get(index):
                    thought.thinking += delta.thinking
                yield from self._delta({"reasoning_content": delta.thinking})
            case "signature_delta":
                if thought := self._blocks.get(index):
                    thought.signature += delta.signature
            case _:
                pass

    def _close(self, index: int) -> Iterator[bytes]:
        block = self._blocks.pop(index, None)
        if block is None:
            return
        if index in self._without_arguments:
            self._without_arguments.discard(index)
            yield from self._arguments(index, bytes(block.input).decode())
        if thought := thinking_block(block):
            yield from self._delta({"thinking_blocks": [thought]})

    def _arguments(self, index: int, piece: str) -> Iterator[bytes]:
        yield from self._call(self._calls[index], {}, {"arguments": piece})

    def _call(self, number: int, call: dict[str, Any], function: dict[str, Any]) -> Iterator[bytes]:
        if not self._functions:
            yield from self._delta({"tool_calls": [{"index": number} | call | {"function": function}]})
        elif number == 0:
            yield from self._delta({"function_call": function})

    def _finish(self, event: Event) -> Iterator[bytes]:
        if event.usage:
            self._count(event.usage)
        if self._finished or event.delta is None or event.delta.stop_reason is None:
            return
        for index in list(self._blocks):
            yield from self._close(index)
        refusal = refusal_text(event.delta.stop_details)
        reason = finish_reason(event.delta.stop_reason, functions=self._functions)
        yield from self._delta({"refusal": refusal} if refusal else {}, reason)
        self._finished = True

    def _count(self, counted: Usage) -> None:
        """Each event tells sums; what it does not tell stays."""
        for name in Usage.__struct_fields__:
            if (value := getattr(counted, name)) is not None:
                setattr(self._usage, name, value)

    def _delta(self, delta: dict[str, Any], finished: str | None = None) -> Iterator[bytes]:
        if not self._begun:
            self._begun = True
            first = {"role": "assistant", "content": "", "refusal": None}
            choice = {"index": 0, "delta": first, "logprobs": None, "finish_reason": None}
            told = usage(
                msgspec.structs.replace(self._usage, output_tokens=0)
            )  # of the input, should the rest never come
            yield self._frame([choice], **({"usage": told} if told["prompt_tokens"] else {}))
        yield self._frame([{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finished}])

    def _frame(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        frame = {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._model,
            "choices": choices,
        }
        return b"data: " + _encode(frame | more)


def _data(event: bytes) -> bytes:
    """The data of an event. Its `event:` line says again what `type` in the data says."""
    lines = (line[5:].strip() for line in event.splitlines() if line.startswith(b"data:"))
    return b"\n".join(lines)


def _read(payload: bytes) -> Event:
    try:
        return decode_event(payload)
    except (ValueError, RecursionError):
        raise UpstreamFailed("The upstream's stream is not one of Anthropic's Messages API.") from None


def _error_event(error: WireError) -> bytes:
    return b"data: " + _encode({"error": error_object(error)})
