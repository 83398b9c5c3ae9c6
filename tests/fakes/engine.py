"""An engine without a model: vLLM's adapter, sleep and probe endpoints with vLLM's statuses, failing on command; a chat with
it answers with the name of whoever answers."""

import asyncio
import json
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

BASE = "base"


@dataclass
class FakeEngine:
    """A running fake: what it has loaded, and how it shall behave."""

    url: str = ""
    adapters: dict[str, str] = field(default_factory=dict[str, str])
    """Name -> path."""
    loads: list[str] = field(default_factory=list[str])
    """Names in the order in which they were asked for."""
    away: bool = False
    """Connections are closed without an answer."""
    hangs: bool = False
    """Requests are read and never answered."""
    misfit: set[str] = field(default_factory=set[str])
    """Names that are answered with 500, as vLLM answers when weights do not fit; "*" is any name."""
    odd: str | None = None
    """Sent instead of the list of models."""
    room: int | None = None
    """The embedded engine's: it serves directories without an adapter too, but only so many."""
    no_updates: bool = False
    """Started without VLLM_ALLOW_RUNTIME_LORA_UPDATING: the routes do not exist."""
    refusals: dict[str, tuple[int, str]] = field(default_factory=dict[str, tuple[int, str]])
    """Name -> status and sentence with which it is refused; "*" is any name."""
    unapplied: set[str] = field(default_factory=set[str])
    """Names that are loaded and answer as the base does; "*" is any name."""
    off_by: float = 0.0
    """Added to every log-probability."""
    no_prompt_logprobs: bool = False
    """Another server that speaks OpenAI's API only."""
    probes: list[str] = field(default_factory=list[str])
    """Names whose prompts' log-probabilities were asked for."""
    load_seconds: float = 0.0
    asleep: bool = False
    cannot_sleep: bool = False
    """Started without VLLM_SERVER_DEV_MODE=1."""
    sleeps: list[str] = field(default_factory=list[str])
    """The queries of POST /sleep, and "wake_up"."""
    called_asleep: int = 0
    most: int = 0
    """Adapters that it had at the same time."""
    looks: int = 0
    """How often it was asked what it serves."""
    keys: set[str] = field(default_factory=set[str])
    """Authorization headers that came."""

    def reset(self) -> None:
        url = self.url
        self.__init__()
        self.url = url


ENGINE = web.AppKey("engine", FakeEngine)


@contextmanager
def running_engine() -> Iterator[FakeEngine]:
    """The fake on a free loopback port."""
    engine = FakeEngine()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(_start(engine), loop).result(10)
    try:
        yield engine
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _start(engine: FakeEngine) -> web.AppRunner:
    app = web.Application(middlewares=[_moods])
    app[ENGINE] = engine
    app.router.add_get("/health", _health)
    app.router.add_get("/v1/models", _models)
    app.router.add_post("/v1/load_lora_adapter", _load)
    app.router.add_post("/v1/unload_lora_adapter", _unload)
    app.router.add_post("/v1/completions", _completions)
    app.router.add_post("/v1/chat/completions", _chat)
    app.router.add_post("/sleep", _sleep)
    app.router.add_post("/wake_up", _wake_up)
    app.router.add_get("/is_sleeping", _is_sleeping)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    engine.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/v1"
    return runner


@web.middleware
async def _moods(request: web.Request, handler: Any) -> web.StreamResponse:
    engine = request.app[ENGINE]
    engine.keys.add(request.headers.get("authorization", ""))
    if engine.away and request.transport is not None:
        request.transport.close()
    while engine.hangs:  # noqa: ASYNC110 set by another thread
        await asyncio.sleep(0.02)
    return await handler(request)


async def _health(request: web.Request) -> web.Response:
    return web.Response()


async def _models(request: web.Request) -> web.Response:
    engine = request.app[ENGINE]
    engine.looks += 1
    if engine.odd is not None:
        return web.Response(text=engine.odd)
    cards = [{"id": BASE, "object": "model", "root": BASE, "parent": None}]
    cards += [{"id": name, "object": "model", "root": path, "parent": BASE} for name, path in engine.adapters.items()]
    return web.json_response({"object": "list", "data": cards})


async def _load(request: web.Request) -> web.Response:
    engine = request.app[ENGINE]
    call = await request.json()
    name, path = call["lora_name"], call["lora_path"]
    engine.loads.append(name)
    if engine.no_updates:
        return web.json_response({"detail": "Not Found"}, status=404)
    await asyncio.sleep(engine.load_seconds)
    if refusal := engine.refusals.get(name) or engine.refusals.get("*"):
        return _error(refusal[0], "InternalServerError", refusal[1])
    if name in engine.misfit or "*" in engine.misfit:
        return _error(500, "InternalServerError", f"Loading lora {name} failed: LoRA rank 64 is greater than 16")
    if name == BASE:
        return _error(400, "InvalidUserInput", f"The lora adapter '{name}' has the base model's name.")
    if name in engine.adapters:
        message = (
            f"The lora adapter '{name}' has already been loaded. If you want to load it in place, set 'load_inplace'."
        )
        return _error(400, "InvalidUserInput", message)
    if engine.room is not None and (Path(path) / "config.json").exists():
        full = [one for one in engine.adapters.values() if (Path(one) / "config.json").exists()]
        if len(full) >= engine.room:
            message = f"Loading {name} failed: this engine serves at most {engine.room} models (--max-models)."
            return _error(400, "InvalidUserInput", message)
    elif not (Path(path) / "adapter_config.json").exists():
        return _error(404, "NotFoundError", f"Loading lora {name} failed: No adapter found for {path}")
    engine.adapters[name] = path
    engine.most = max(engine.most, len(engine.adapters))
    return web.Response(text=f"Success: LoRA adapter '{name}' added successfully.")


async def _unload(request: web.Request) -> web.Response:
    engine = request.app[ENGINE]
    name = (await request.json())["lora_name"]
    if engine.adapters.pop(name, None) is None:
        return _error(404, "NotFoundError", f"The lora adapter '{name}' cannot be found.")
    return web.Response(text=f"Success: LoRA adapter '{name}' removed successfully.")


async def _completions(request: web.Request) -> web.Response:
    engine = request.app[ENGINE]
    call = await request.json()
    model, prompt = call["model"], call["prompt"]
    engine.probes.append(model)
    if model != BASE and model not in engine.adapters:
        return _unknown(model)
    choice: dict[str, Any] = {"index": 0, "text": "", "finish_reason": "length"}
    if "prompt_logprobs" in call and not engine.no_prompt_logprobs:
        tokens = prompt if isinstance(prompt, list) else [zlib.crc32(word.encode()) for word in prompt.split()]
        numbers = _numbers(engine, model, tokens)
        choice["prompt_logprobs"] = [None] + [
            {str(token): {"logprob": number + engine.off_by, "rank": 1, "decoded_token": "x"}}
            for token, number in zip(tokens[1:], numbers, strict=True)
        ]
    return web.json_response({"id": "cmpl-1", "object": "text_completion", "model": model, "choices": [choice]})


def _numbers(engine: FakeEngine, model: str, tokens: list[int]) -> list[float]:
    """Of every token but the first: what the trainer's probe says, where one of these tokens is known; else numbers that
    are the same for the same weights and tokens."""
    is_base = model == BASE or model in engine.unapplied or "*" in engine.unapplied
    for name, path in engine.adapters.items():
        file = Path(path) / "probe.json"
        known = json.loads(file.read_text()) if file.exists() else {}
        if known.get("token_ids") == tokens and (is_base or name == model):
            said = (known["base_logprobs"] if is_base else None) or known["logprobs"]
            return [-1.0] * (known["first"] - 1) + said
    weights = BASE if is_base else engine.adapters[model]
    return [-(zlib.crc32(f"{weights} {at} {token}".encode()) % 1000) / 100 for at, token in enumerate(tokens[1:])]


async def _chat(request: web.Request) -> web.Response:
    engine = request.app[ENGINE]
    model = (await request.json())["model"]
    if engine.asleep:
        engine.called_asleep += 1
    if model != BASE and model not in engine.adapters:
        return _unknown(model)
    choice = {"index": 0, "message": {"role": "assistant", "content": model}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    reply = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model, "usage": usage}
    return web.json_response({**reply, "choices": [choice]})


async def _sleep(request: web.Request) -> web.Response:
    engine = request.app[ENGINE]
    if engine.cannot_sleep:
        return web.json_response({"detail": "Not Found"}, status=404)
    engine.sleeps.append(request.query_string)
    engine.asleep = True
    return web.json_response({"status": "sleeping", "level": 1})


async def _wake_up(request: web.Request) -> web.Response:
    engine = request.app[ENGINE]
    engine.sleeps.append("wake_up")
    engine.asleep = False
    return web.json_response({"status": "awake", "tags": None})


async def _is_sleeping(request: web.Request) -> web.Response:
    engine = request.app[ENGINE]
    if engine.cannot_sleep:
        return web.json_response({"detail": "Not Found"}, status=404)
    return web.json_response({"is_sleeping": engine.asleep})


def _unknown(model: str) -> web.Response:
    return _error(404, "NotFoundError", f"The model `{model}` does not exist.")


def _error(status: int, kind: str, message: str) -> web.Response:
    error = {"message": message, "type": kind, "param": None, "code": status}
    return web.json_response({"error": error}, status=status)
