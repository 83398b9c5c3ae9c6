"""Anthropic's Messages API, failing on command: the model's name says how.

A real HTTP server on a thread of its own. What it takes and sends is judged by the types of the `anthropic` package: a
request that does not fit MessageCreateParams, or that the real API refuses for another reason we know of, gets a 400;
replies and events are built as the package's models. Model names:

    echo            answers with the last text of the user
    see             tells which images and documents came
    tools           text, then two calls: `weather` with arguments, `now` without
    thinking        a thought, a hidden one, then text
    structured      an instance of the schema in output_config.format
    refusal         stops for safety
    length          stops at max_tokens
    cached          reads half of its prompt from the cache
    status-429      answers that status with an error of Anthropic's (also 400, 401, 404, 413, 500, 529)
    too-long        the prompt does not fit the context
    error-first     a stream that is overloaded before any content
    error-midway    a stream that is overloaded after two words
    cut             closes the connection in the middle
    strange         a stream with events and deltas of types that nobody knows
"""

import asyncio
import datetime
import json
import re
import ssl
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pydantic
from aiohttp import web
from anthropic.types import (
    InputJSONDelta,
    Message,
    ModelInfo,
    RawContentBlockDeltaEvent,
    RawContentBlockStartEvent,
    RawContentBlockStopEvent,
    RawMessageDeltaEvent,
    RawMessageStartEvent,
    RawMessageStopEvent,
    RedactedThinkingBlock,
    RefusalStopDetails,
    SignatureDelta,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ThinkingDelta,
    ToolUseBlock,
    Usage,
)
from anthropic.types.cache_creation import CacheCreation
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming, MessageCreateParamsStreaming
from anthropic.types.message_delta_usage import MessageDeltaUsage
from anthropic.types.output_tokens_details import OutputTokensDetails
from anthropic.types.raw_message_delta_event import Delta
from anthropic.types.shared import ErrorResponse

RELEASED = datetime.datetime(2026, 10, 21, tzinfo=datetime.UTC)
VERSIONS = ("2023-06-01", "2026-10-21")
ERRORS = {
    400: ("invalid_request_error", "max_tokens: 64000 > 8192"),
    401: ("authentication_error", "invalid x-api-key"),
    404: ("not_found_error", "model: status-404"),
    413: ("request_too_large", "Request exceeds the maximum size"),
    429: ("rate_limit_error", "This request would exceed your organization's rate limit of 50 requests per minute."),
    500: ("api_error", "Internal server error"),
    529: ("overloaded_error", "Overloaded"),
}
TOO_LONG = "prompt is too long: 210000 tokens > 200000 maximum"
MODELS = (
    "echo", "see", "tools", "thinking", "structured", "refusal", "length", "cached", "too-long", "error-first",
    "error-midway", "cut", "strange", *(f"status-{status}" for status in ERRORS),
)  # fmt: skip


@dataclass
class FakeAnthropic:
    """A running fake: where it is, and what it was sent."""

    root: str = ""
    """Without /v1."""
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    """Names in lower case."""
    transports: set[asyncio.BaseTransport] = field(default_factory=set)
    """Of connections that were used."""

    @property
    def url(self) -> str:
        return f"{self.root}/v1"


FAKE = web.AppKey("fake", FakeAnthropic)


@contextmanager
def running_anthropic(tls: ssl.SSLContext | None = None) -> Iterator[FakeAnthropic]:
    """The fake on a free loopback port; https if it is given a certificate."""
    fake = FakeAnthropic()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(_start(fake, tls), loop).result(10)
    try:
        yield fake
    finally:
        asyncio.run_coroutine_threadsafe(_stop(fake, runner), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _start(fake: FakeAnthropic, tls: ssl.SSLContext | None) -> web.AppRunner:
    app = web.Application(client_max_size=32 * 1024 * 1024)
    app[FAKE] = fake
    app.router.add_post("/v1/messages", _messages)
    app.router.add_get("/v1/models", _models)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    fake.root = f"http{'s' if tls else ''}://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    return runner


async def _stop(fake: FakeAnthropic, runner: web.AppRunner) -> None:
    await runner.cleanup()
    for transport in fake.transports:
        transport.abort()  # a TLS connection would wait for the other side's goodbye
    for _ in range(3):
        await asyncio.sleep(0)  # lost connections close their sockets


async def _models(request: web.Request) -> web.Response:
    models = [
        ModelInfo(type="model", id=model, display_name=model.title(), lifecycle="active", created_at=RELEASED)
        for model in MODELS
    ]
    listed = {"data": [model.model_dump(mode="json") for model in models], "has_more": False}
    return _refusal(request) or web.json_response(listed | {"first_id": MODELS[0], "last_id": MODELS[-1]})


def _refusal(request: web.Request) -> web.Response | None:
    """What the headers of a request lack."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    request.app[FAKE].headers.append(headers)
    assert request.transport is not None
    request.app[FAKE].transports.add(request.transport)
    if "x-api-key" not in headers and not headers.get("authorization", "").startswith("Bearer "):
        return _error(401, "authentication_error", "x-api-key header is required")
    if headers.get("anthropic-version") not in VERSIONS:
        return _error(400, "invalid_request_error", "anthropic-version: header is required")
    return None


async def _messages(request: web.Request) -> web.StreamResponse:
    fake = request.app[FAKE]
    if refusal := _refusal(request):
        return refusal
    body = await request.json()
    fake.requests.append(body)
    if wrong := problem(body):
        return _error(400, "invalid_request_error", wrong)
    model: str = body["model"]
    if model.startswith("status-"):
        return _error(int(model[7:]), *ERRORS[int(model[7:])])
    if model == "too-long":
        return _error(400, "invalid_request_error", TOO_LONG)
    message = answer(body)
    if body.get("stream"):
        return await _stream(request, model, message)
    if model == "cut":
        return await _cut(request, message.to_json().encode())
    return web.json_response(message.model_dump(mode="json"), headers={"request-id": "req_fake"})


def _error(status: int, kind: str, text: str) -> web.Response:
    body = {"type": "error", "error": {"type": kind, "message": text}, "request_id": "req_fake"}
    headers = {"retry-after": "7", "anthropic-ratelimit-requests-remaining": "0"} if status == 429 else {}
    return web.json_response(body, status=status, headers=headers)


# What the API takes.

_WHOLE = pydantic.TypeAdapter(MessageCreateParamsNonStreaming)
_STREAMED = pydantic.TypeAdapter(MessageCreateParamsStreaming)
_id = re.compile(r"[a-zA-Z0-9_-]+")
_name = re.compile(r"[a-zA-Z0-9_-]{1,128}")


def problem(body: dict[str, Any]) -> str | None:
    """What the real API would say against a request: a type that does not fit, a field that it does not know, or a
    rule of its documentation that the types cannot tell. None if nothing."""
    try:
        read = _materialised((_STREAMED if body.get("stream") else _WHOLE).validate_python(body))
    except pydantic.ValidationError as error:
        return str(error)
    if read != body:
        return f"Extra inputs are not permitted: {json.dumps(body)} was read as {json.dumps(read)}"
    return _broken_rule(body)


def _materialised(value: Any) -> Any:
    """Iterables are validated as they are read."""
    if isinstance(value, Mapping):
        return {name: _materialised(each) for name, each in value.items()}
    if isinstance(value, str | bytes) or not hasattr(value, "__iter__"):
        return value
    return [_materialised(each) for each in value]


def _broken_rule(body: dict[str, Any]) -> str | None:
    turns = [(turn["role"], _content(turn["content"])) for turn in body["messages"]]
    blocks = [block for _, content in turns for block in content]
    if not turns or turns[0][0] != "user":
        return "messages: first message must use the user role"
    if turns[-1][0] != "user":
        return "This model does not support assistant message prefill. The conversation must end with a user message."
    texts = [
        *blocks,
        *_content(body.get("system", [])),
        *(each for b in blocks for each in _content(b.get("content", []))),
    ]
    if any(block["type"] == "text" and not block["text"].strip() for block in texts):
        return "messages: text content blocks must contain non-whitespace text"
    if any(not content for _, content in turns):
        return "messages: all messages must have non-empty content"
    if any(not sequence.strip() for sequence in body.get("stop_sequences", [])):
        return "stop_sequences: each stop sequence must contain non-whitespace"
    return _broken_tools(body, turns, blocks) or _open_object(body.get("output_config", {}).get("format"))


def _broken_tools(body: dict[str, Any], turns: list[Any], blocks: list[dict[str, Any]]) -> str | None:
    if any(block["type"].startswith("tool_") for block in blocks) and not body.get("tools"):
        return "Requests which include `tool_use` or `tool_result` blocks must define tools"
    if "tool_choice" in body and not body.get("tools"):
        return "tool_choice may only be specified while providing tools"
    for tool in body.get("tools", []):
        if not _name.fullmatch(tool["name"]) or tool["input_schema"].get("type") != "object":
            return f"tools: {tool} is not valid"
        if tool.get("strict") and (open_object := _open_object(tool["input_schema"])):
            return open_object
    asked: list[str] = []
    for role, content in turns:
        results = [block["tool_use_id"] for block in content if block["type"] == "tool_result"]
        if sorted(results) != sorted(asked):
            return "messages: `tool_use` ids were found without `tool_result` blocks immediately after, or the reverse"
        if [block["type"] for block in content[: len(results)]] != ["tool_result"] * len(results):
            return "messages: tool_result blocks must come first"
        asked = [block["id"] for block in content if role == "assistant" and block["type"] == "tool_use"]
        if not all(_id.fullmatch(id) for id in asked):
            return "messages: tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'"
    return None


def _open_object(schema: Any) -> str | None:
    """What structured outputs refuse in a schema."""
    if isinstance(schema, list):
        return next(filter(None, map(_open_object, schema)), None)
    if not isinstance(schema, dict):
        return None
    if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
        return "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to false"
    if isinstance(schema.get("type"), str) and (unsupported := schema.keys() & {"minimum", "maximum", "maxLength"}):
        return f"output_config.format.schema: properties {unsupported} are not supported"
    return next(filter(None, map(_open_object, schema.values())), None)


def _content(content: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


# What it answers.


def answer(body: dict[str, Any]) -> Message:
    """The whole reply."""
    model = body["model"]
    blocks = [block for turn in body["messages"] for block in _content(turn["content"])]
    stop: Any = {"tools": "tool_use", "refusal": "refusal", "length": "max_tokens"}.get(model, "end_turn")
    message = Message(
        id="msg_fake",
        type="message",
        role="assistant",
        model=model,
        content=_reply_blocks(model, body, blocks),
        stop_reason=stop,
        stop_sequence=None,
        usage=_usage(model),
    )
    if model == "refusal":
        message.stop_details = RefusalStopDetails(type="refusal", category="cyber", explanation="It could do harm.")
    return message


def _reply_blocks(model: str, body: dict[str, Any], blocks: list[dict[str, Any]]) -> list[Any]:
    texts = [block["text"] for block in blocks if block["type"] == "text"]
    match model:
        case "tools":
            weather = {"city": "Zürich", "days": 2}
            return [
                TextBlock(type="text", text="Let me look."),
                ToolUseBlock(type="tool_use", id="toolu_1", name="weather", input=weather),
                ToolUseBlock(type="tool_use", id="toolu_2", name="now", input={}),
            ]
        case "thinking":
            return [
                ThinkingBlock(type="thinking", thinking="First this, then that.", signature="c2lnbmVk"),
                RedactedThinkingBlock(type="redacted_thinking", data="aGlkZGVu"),
                TextBlock(type="text", text="Done."),
            ]
        case "structured":
            instance = _instance(body["output_config"]["format"]["schema"])
            return [TextBlock(type="text", text=json.dumps(instance))]
        case "see":
            sources = [block["source"] for block in blocks if block["type"] in ("image", "document")]
            seen = [source.get("url") or f"{source['media_type']} {len(source['data'])}" for source in sources]
            return [TextBlock(type="text", text=", ".join(seen))]
        case "refusal":
            return []
        case _:
            return [TextBlock(type="text", text=texts[-1])] if texts else []


def _instance(schema: dict[str, Any]) -> Any:
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return _instance(schema["anyOf"][0])
    match schema.get("type"):
        case "object":
            return {name: _instance(each) for name, each in schema["properties"].items()}
        case "array":
            return [_instance(schema["items"])]
        case "integer" | "number":
            return 3
        case "boolean":
            return True
        case _:
            return "text"


def _usage(model: str) -> Usage:
    read, written = (8, 4) if model == "cached" else (0, 0)
    return Usage(
        input_tokens=12,
        output_tokens=9,
        cache_read_input_tokens=read,
        cache_creation_input_tokens=written,
        cache_creation=CacheCreation(ephemeral_1h_input_tokens=0, ephemeral_5m_input_tokens=written),
        output_tokens_details=OutputTokensDetails(thinking_tokens=5 if model == "thinking" else 0),
        service_tier="standard",
    )


# The same as a stream.


def events_of(message: Message) -> Iterator[pydantic.BaseModel]:
    """The events that the API would send for a reply (platform.claude.com/docs/en/build-with-claude/streaming)."""
    started = message.model_copy(update={"content": [], "stop_reason": None, "stop_details": None})
    started.usage = message.usage.model_copy(update={"output_tokens": 1, "output_tokens_details": None})
    yield RawMessageStartEvent(type="message_start", message=started)
    for index, block in enumerate(message.content):
        yield from _block_events(index, block)
    delta = Delta(stop_reason=message.stop_reason, stop_sequence=None, stop_details=message.stop_details)
    sums = MessageDeltaUsage(
        output_tokens=message.usage.output_tokens, output_tokens_details=message.usage.output_tokens_details
    )
    yield RawMessageDeltaEvent(type="message_delta", delta=delta, usage=sums)
    yield RawMessageStopEvent(type="message_stop")


def _block_events(index: int, block: Any) -> Iterator[pydantic.BaseModel]:
    deltas: list[Any] = []
    empty = block
    match block:
        case TextBlock():
            empty = TextBlock(type="text", text="")
            deltas = [TextDelta(type="text_delta", text=piece) for piece in re.findall(r"\S*\s*", block.text) if piece]
        case ThinkingBlock():
            empty = ThinkingBlock(type="thinking", thinking="", signature="")
            pieces = re.findall(r"\S+\s*", block.thinking)
            deltas = [ThinkingDelta(type="thinking_delta", thinking=piece) for piece in pieces]
            deltas += [SignatureDelta(type="signature_delta", signature=block.signature)]
        case ToolUseBlock():
            empty = block.model_copy(update={"input": {}})
            written = json.dumps(block.input, ensure_ascii=False) if block.input else ""
            pieces = ["", *(written[at : at + 7] for at in range(0, len(written), 7))]
            deltas = [InputJSONDelta(type="input_json_delta", partial_json=piece) for piece in pieces]
        case _:
            pass
    yield RawContentBlockStartEvent(type="content_block_start", index=index, content_block=empty)
    for delta in deltas:
        yield RawContentBlockDeltaEvent(type="content_block_delta", index=index, delta=delta)
    yield RawContentBlockStopEvent(type="content_block_stop", index=index)


def frame(event: pydantic.BaseModel | dict[str, Any]) -> bytes:
    """An event as it is sent: named, one line of data, a blank line."""
    body = event if isinstance(event, dict) else event.model_dump(mode="json")
    return f"event: {body['type']}\ndata: {json.dumps(body, ensure_ascii=False)}\n\n".encode()


OVERLOADED = ErrorResponse.model_validate(
    {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "req_fake"}
)
STRANGE: tuple[dict[str, Any], ...] = (
    {"type": "weather_report", "index": 0},
    {"type": "content_block_start", "index": 7, "content_block": {"type": "hologram", "shape": "cube"}},
    {"type": "content_block_delta", "index": 7, "delta": {"type": "hologram_delta", "shape": "x"}},
    {"type": "content_block_stop", "index": 7},
)


async def _stream(request: web.Request, model: str, message: Message) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8"})
    await response.prepare(request)
    async for sent in _frames(model, message):
        if sent is None:
            assert request.transport is not None
            request.transport.close()
            return response
        await response.write(sent)
    return response


async def _frames(model: str, message: Message) -> AsyncIterator[bytes | None]:
    """None: the connection is cut here."""
    for number, event in enumerate(events_of(message)):
        if number == 1:
            yield frame({"type": "ping"})
            if model == "error-first":
                yield frame(OVERLOADED)
                return
            if model == "strange":
                for strange in STRANGE:
                    yield frame(strange)
        if number == 4 and model == "error-midway":
            yield frame(OVERLOADED)
            return
        if number == 4 and model == "cut":
            yield None
            return
        yield frame(event)


async def _cut(request: web.Request, body: bytes) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "application/json", "content-length": str(len(body))})
    await response.prepare(request)
    await response.write(body[:20])
    assert request.transport is not None
    request.transport.close()
    return response
