"""An OpenAI-compatible upstream that fails on command: the model's name says how.

A real HTTP server on a thread of its own, for what a healthy upstream never does. Model names:

    echo                answers with the last user message; usage as configured below
    slow                waits before the answer (`Upstream.release` lets it go)
    status-429          answers that status with an OpenAI error object (any number)
    bare-500            the same status without a body that means anything
    no-usage            never tells its usage, also when asked
    cut                 closes the connection in the middle of the body
    cut-before          closes it before the status line
    error-first         a stream whose first event is an error
    error-midway        a stream that breaks with an error event after two tokens
    no-done             a stream that ends without [DONE] but with a finish_reason
    ends-early          a stream that ends without either
    crlf                a stream framed with CRLF, comments between
    gated               a stream that stops after two words (`Upstream.release` lets it go on)
    endless             a stream that goes on until its client leaves
    not-a-stream        answers a stream request with one JSON body
    no-schema           refuses response_format, as a server without structured outputs; else like echo
    no-max-tokens       refuses max_tokens, as OpenAI's newer models do; else like echo
    web-page            answers with HTML and status 200
    error-200           answers with an OpenAI error object and status 200
    tells-key           refuses everything, and repeats the Authorization header
    unicode             characters of 2 to 4 bytes, cut at every byte
    told                answers what it was told to (`Upstream.says`)
    assistant           calls tools and keeps to a schema (tests/fakes/assistant.py)
"""

import asyncio
import json
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.fakes import assistant

REFUSES = {"no-schema": "response_format", "no-max-tokens": "max_tokens"}
PROMPT_TOKENS = 12
WORDS = ("one ", "two ", "three ", "four ")


@dataclass
class Faults:
    """How often the models `flaky-...` fail, of all calls; the rest is answered. By a seed, so that a run can be repeated."""

    errors: float = 0.0
    """A status 500, 503 or 429."""
    hangs: float = 0.0
    """Nothing comes until the client hangs up; of a stream, nothing after its head or its first event."""
    cuts: float = 0.0
    """The connection ends in the middle of the body; of a stream, before its first token."""
    seed: int = 0

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)

    def draw(self) -> str:
        """`error`, `hang`, `cut`, or "" for none."""
        chance = self._chance.random()
        for fault, share in (("error", self.errors), ("hang", self.hangs), ("cut", self.cuts)):
            if chance < share:
                return fault
            chance -= share
        return ""


@dataclass
class Upstream:
    """A running fake: where it is, and what it was sent."""

    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)
    hung_up: threading.Event = field(default_factory=threading.Event)
    """Set when a client of the model `endless` has left."""
    faults: Faults = field(default_factory=Faults)
    hanging: int = 0
    """Calls that hang at the moment."""
    context: int | None = None
    """Tokens of prompt and answer together; a call that asks for more is refused."""
    says: str = ""
    """What the model `told` answers."""
    paths: list[str] = field(default_factory=list)
    """Of every request, also those that are answered 404."""

    def forget(self) -> None:
        """Everything that a test before has left."""
        for memory in (self.requests, self.headers, self.paths):
            memory.clear()
        self.release.clear()
        self.hung_up.clear()
        self.faults = Faults()
        self.context = None
        self.says = ""


UPSTREAM = web.AppKey("upstream", Upstream)


@contextmanager
def running_upstream() -> Iterator[Upstream]:
    """The fake on a free loopback port."""
    upstream = Upstream()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(_start(upstream), loop).result(10)
    try:
        yield upstream
    finally:
        upstream.release.set()
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _start(upstream: Upstream) -> web.AppRunner:
    app = web.Application()
    app[UPSTREAM] = upstream
    app.router.add_post("/v1/chat/completions", _chat)
    app.router.add_post("/v1/completions", _chat)
    app.router.add_route("*", "/{path:.*}", _unknown)
    app.router.add_get("/v1/models", _models)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    upstream.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/v1"
    return runner


async def _unknown(request: web.Request) -> web.StreamResponse:
    request.app[UPSTREAM].paths.append(request.path)
    raise web.HTTPNotFound


async def _chat(request: web.Request) -> web.StreamResponse:
    upstream: Upstream = request.app[UPSTREAM]
    body = await request.json()
    upstream.paths.append(request.path)
    upstream.requests.append(body)
    upstream.headers.append(dict(request.headers))
    model: str = body["model"]
    fault = (body.get("metadata") or {}).get("fault") or (upstream.faults.draw() if model.startswith("flaky-") else "")
    if fault:
        return await _fail(request, upstream, body, fault)
    if upstream.context is not None and _asked(body) > upstream.context - PROMPT_TOKENS:
        return _refused(_too_long(upstream.context, _asked(body)), None)
    if model == "slow":
        await asyncio.to_thread(upstream.release.wait, 20)
    if model.startswith("status-"):
        error = {"message": f"upstream says {model}", "type": "some_type", "param": None, "code": "some_code"}
        return web.json_response({"error": error}, status=int(model[7:]), headers={"retry-after": "7"})
    if model in REFUSES and REFUSES[model] in body:
        return _refused(f"{REFUSES[model]} is not supported", REFUSES[model])
    if model == "error-200":
        return web.json_response({"error": {"message": "Provider returned error", "code": 429}})
    if model == "web-page":
        return web.Response(text="<html>welcome</html>")
    if model == "told":
        body = body | {"messages": [{"role": "user", "content": upstream.says}]}
    if model == "tells-key":
        return _refused(f"what is {request.headers.get('authorization')}?", None)
    if model == "error-long":
        message = "This model's maximum context length is 8 tokens. However, you requested 9 tokens."
        return web.json_response({"error": {"message": message, "type": "BadRequestError", "code": 400}}, status=400)
    if model == "empty-200":
        return web.Response(text="<html>hello</html>")
    if model == "bare-500":
        return web.Response(status=500, text="<html>oops</html>")
    if model == "cut-before":
        request.transport.close()
        return web.Response()
    if body.get("stream") and model != "not-a-stream":
        return await _stream(request, upstream, body)
    answer = _whole(body)
    if model == "cut":
        return await _cut(request, json.dumps(answer).encode())
    return web.json_response(answer)


async def _models(request: web.Request) -> web.Response:
    request.app[UPSTREAM].headers.append(dict(request.headers))
    models = [{"id": name, "object": "model", "created": 1, "owned_by": "fake"} for name in ("echo", "no-usage")]
    return web.json_response({"object": "list", "data": models})


def _refused(message: str, param: str | None) -> web.Response:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": None}
    return web.json_response({"error": error}, status=400)


STATUSES = (500, 503, 429)


async def _fail(request: web.Request, upstream: Upstream, body: dict[str, Any], fault: str) -> web.StreamResponse:
    """One of the faults of `Faults`. They take turns at where exactly a stream breaks."""
    turn = len(upstream.requests)
    if fault == "error":
        return web.json_response({"error": {"message": "by chance"}}, status=STATUSES[turn % len(STATUSES)])
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    if body.get("stream"):
        await response.prepare(request)
        if turn % 2:
            role = _chunk(body["model"], {"role": "assistant", "content": ""})
            await response.write(f"data: {json.dumps(role)}\n\n".encode())
    if fault == "hang":
        await _hang(request, upstream)
    elif not body.get("stream"):
        return await _cut(request, json.dumps(_whole(body)).encode())
    if request.transport:
        request.transport.close()
    return response


async def _hang(request: web.Request, upstream: Upstream) -> None:
    upstream.hanging += 1
    try:
        while request.transport and not request.transport.is_closing():  # noqa: ASYNC110 nobody tells
            await asyncio.sleep(0.02)
    finally:
        upstream.hanging -= 1


def _asked(body: dict[str, Any]) -> int:
    return body.get("max_completion_tokens") or body.get("max_tokens") or 0


def _too_long(context: int, asked: int) -> str:
    """As vLLM says it."""
    return (
        f"'max_tokens' or 'max_completion_tokens' is too large: {asked}. This model's maximum context length is {context} "
        f"tokens and your request has {PROMPT_TOKENS} input tokens ({asked} > {context} - {PROMPT_TOKENS})."
    )


def usage(body: dict[str, Any]) -> dict[str, Any]:
    """12 prompt tokens, 4 of them cached, and one completion token a word, unless the call's metadata say `tokens`."""
    written = int((body.get("metadata") or {}).get("tokens") or len(WORDS))
    return {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": written,
        "total_tokens": PROMPT_TOKENS + written,
        "prompt_tokens_details": {"cached_tokens": 4},
    }


def _whole(body: dict[str, Any]) -> dict[str, Any]:
    part, finish_reason = _part(body)
    answer: dict[str, Any] = {
        "id": "chatcmpl-fake",
        "object": "chat.completion" if "messages" in body else "text_completion",
        "created": 1,
        "model": body["model"],
        "choices": [{"index": 0, "finish_reason": finish_reason, "logprobs": None, **part}],
    }
    return answer if body["model"] == "no-usage" else answer | {"usage": usage(body)}


def _part(body: dict[str, Any]) -> tuple[dict[str, Any], str]:
    if "messages" not in body:
        return {"text": body["prompt"]}, "stop"
    if body["model"] == "assistant":
        reply = assistant.reply(body)
        return {"message": reply.message}, reply.finish_reason
    return {"message": {"role": "assistant", "content": body["messages"][-1]["content"], "refusal": None}}, "stop"


async def _cut(request: web.Request, body: bytes) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "application/json", "content-length": str(len(body))})
    await response.prepare(request)
    await response.write(body[:20])
    request.transport.close()
    return response


async def _stream(request: web.Request, upstream: Upstream, body: dict[str, Any]) -> web.StreamResponse:
    model = body["model"]
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    end = "\r\n\r\n" if model == "crlf" else "\n\n"
    error = {"error": {"message": "it broke", "type": "server_error", "param": None, "code": None}}

    async def send(payload: dict[str, Any]) -> None:
        await response.write(f"data: {json.dumps(payload, ensure_ascii=False)}{end}".encode())

    if model == "error-first":
        await send(error)
        return response
    if model == "assistant":
        await _assist(send, body)
        await response.write(f"data: [DONE]{end}".encode())
        return response
    await send(_chunk(model, {"role": "assistant", "content": ""}))
    if model == "endless":
        await _endless(send, upstream, model)
        return response
    for number, word in enumerate(_words(model)):
        if model == "gated" and number == 2:
            await asyncio.to_thread(upstream.release.wait, 20)
        if model == "error-midway" and number == 2:
            await send(error)
            return response
        if model == "cut" and number == 2:
            request.transport.close()
            return response
        if model == "ends-early" and number == 2:
            return response
        if model == "crlf":
            await response.write(b": keep-alive\r\n\r\n")
        if model == "unicode":
            for byte in f"data: {json.dumps(_chunk(model, {'content': word}), ensure_ascii=False)}\n\n".encode():
                await response.write(bytes([byte]))
        else:
            await send(_chunk(model, {"content": word}))
    await send(_chunk(model, {}, "stop"))
    if model == "no-done":
        return response
    await _send_usage(send, body)
    await response.write(f"data: [DONE]{end}".encode())
    return response


async def _assist(send: Any, body: dict[str, Any]) -> None:
    reply = assistant.reply(body)
    for delta in assistant.deltas(reply.message):
        await send(_chunk("assistant", delta))
    await send(_chunk("assistant", {}, reply.finish_reason))
    await _send_usage(send, body)


async def _send_usage(send: Any, body: dict[str, Any]) -> None:
    if body.get("stream_options", {}).get("include_usage") and body["model"] != "no-usage":
        await send(_chunk(body["model"], None) | {"choices": [], "usage": usage(body)})


def _words(model: str) -> tuple[str, ...]:
    return ("é ", "€ ", "𝄞 ") if model == "unicode" else WORDS


async def _endless(send: Any, upstream: Upstream, model: str) -> None:
    try:
        while True:
            await send(_chunk(model, {"content": "more "}))
            await asyncio.sleep(0.02)
    except (ConnectionError, asyncio.CancelledError):
        upstream.hung_up.set()
        raise


def _chunk(model: str, delta: dict[str, Any] | None, finish_reason: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return {
        "id": "chatcmpl-fake",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": model,
        "choices": [choice],
        "usage": None,
    }
