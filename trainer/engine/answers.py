"""From pieces to an HTTP answer: one body, or a stream of chunks."""

import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from trainer.engine.choice import Piece
from trainer.engine.engine import Engine
from trainer.engine.protocol import GenerationCall, StreamOptions
from trainer.engine.refusals import Refusal
from trainer.engine.replies import DONE, ChatWriter, Reply, TextWriter, Usage, encode, frame, usage_of
from trainer.engine.sampling import Options

STREAM_HEADERS = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}


@dataclass(slots=True)
class Answer:
    """One call being answered, and how far it is."""

    engine: Engine
    call: GenerationCall
    writer: ChatWriter | TextWriter
    prompts: list[list[int]]
    options: list[Options]
    id: str = ""
    created: int = field(default_factory=lambda: int(time.time()))
    completion_tokens: dict[int, int] = field(default_factory=dict)
    """Choice index -> its tokens so far."""

    def __post_init__(self) -> None:
        self.id = f"{self.writer.prefix}{uuid.uuid4().hex}"

    def pieces(self, *, streaming: bool) -> AsyncIterator[list[Piece]]:
        return self.engine.generate(
            self.call.model, self.prompts, self.options, n=self.call.n or 1, streaming=streaming
        )

    def usage(self) -> Usage:
        return usage_of(sum(map(len, self.prompts)), sum(self.completion_tokens.values()))

    def reply(self, kind: str, choices: list[Any], **usage: Usage | None) -> Reply:
        return Reply(self.id, kind, self.created, self.call.model, choices, **usage)


async def answer(request: web.Request, reply: Answer) -> web.StreamResponse:
    return await stream(request, reply) if reply.call.stream else await whole(reply)


async def whole(reply: Answer) -> web.Response:
    logprobs = reply.options[0].top_logprobs is not None
    choices = []
    async with aclosing(reply.pieces(streaming=False)) as batches:
        async for pieces in batches:
            for piece in pieces:
                reply.completion_tokens[piece.index] = piece.completion_tokens
                choices.append(reply.writer.whole(piece, logprobs=logprobs))
    choices.sort(key=lambda choice: choice.index)
    body = encode(reply.reply(reply.writer.body, choices, usage=reply.usage()))
    return web.Response(body=body, content_type="application/json")


async def stream(request: web.Request, reply: Answer) -> web.StreamResponse:
    """Answers only once the first text is there: until then an error is an ordinary HTTP error."""
    async with aclosing(reply.pieces(streaming=True)) as batches:
        first = await anext(batches)
        response = web.StreamResponse(headers=STREAM_HEADERS)
        with contextlib.suppress(ConnectionError):  # the client has left: closing the pieces is all there is to do
            await response.prepare(request)
            await write_frames(response, Frames(reply), first, batches)
            await response.write_eof()
    return response


async def write_frames(
    response: web.StreamResponse, frames: "Frames", first: list[Piece], batches: AsyncIterator[list[Piece]]
) -> None:
    await response.write(frames.opening() + frames.of(first))
    try:
        async for pieces in batches:
            await response.write(frames.of(pieces))
    except Refusal as refusal:
        await response.write(frame(refusal.body()))
    else:
        await response.write(frames.closing())


class Frames:
    """The chunks of one stream, as bytes."""

    def __init__(self, reply: Answer) -> None:
        self._reply = reply
        self._options = reply.call.stream_options or StreamOptions()
        self._each: dict[str, Usage | None] = {"usage": None} if self._options.include_usage else {}

    def opening(self) -> bytes:
        indices = range((self._reply.call.n or 1) * len(self._reply.prompts))
        return self._chunks(choice for index in indices if (choice := self._reply.writer.first(index)))

    def of(self, pieces: list[Piece]) -> bytes:
        parts = []
        for piece in pieces:
            self._reply.completion_tokens[piece.index] = piece.completion_tokens
            parts.append(self._chunks(self._reply.writer.during(piece)))
        return b"".join(parts)

    def closing(self) -> bytes:
        if not self._options.include_usage:
            return DONE
        return frame(self._reply.reply(self._reply.writer.chunk, [], usage=self._reply.usage())) + DONE

    def _chunks(self, choices: Iterable[Any]) -> bytes:
        if self._options.continuous_usage_stats:
            self._each = {"usage": self._reply.usage()}
        kind = self._reply.writer.chunk
        return b"".join(frame(self._reply.reply(kind, [choice], **self._each)) for choice in choices)
