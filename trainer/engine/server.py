"""Every URL of the engine."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from trainer.engine import protocol
from trainer.engine.answers import Answer, answer
from trainer.engine.engine import Engine
from trainer.engine.messages import for_template, tools_for_template
from trainer.engine.refusals import ContextTooLong, GenerationFailed, Invalid, Refusal, RouteNotFound
from trainer.engine.replies import ChatWriter, ModelCard, ModelList, TextWriter, encode
from trainer.engine.sampling import Options

logger = logging.getLogger("tuneway.engine")

ENGINE = web.AppKey("engine", Engine)
LARGEST_BODY = 64 * 2**20

decode_chat = protocol.decoder_of(protocol.ChatCall)
decode_completion = protocol.decoder_of(protocol.CompletionCall)
decode_tokenize = protocol.decoder_of(protocol.TokenizeCall)
decode_detokenize = protocol.decoder_of(protocol.DetokenizeCall)
decode_load = protocol.decoder_of(protocol.LoadAdapterCall)
decode_unload = protocol.decoder_of(protocol.UnloadAdapterCall)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def build_app(engine: Engine) -> web.Application:
    app = web.Application(middlewares=[refusals_as_json], client_max_size=LARGEST_BODY)
    app[ENGINE] = engine
    app.router.add_get("/health", health)
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/v1/models", models)
    app.router.add_post("/v1/chat/completions", chat_completions)
    app.router.add_post("/v1/completions", completions)
    app.router.add_post("/v1/load_lora_adapter", load_lora_adapter)
    app.router.add_post("/v1/unload_lora_adapter", unload_lora_adapter)
    app.router.add_post("/tokenize", tokenize)
    app.router.add_post("/detokenize", detokenize)
    return app


@web.middleware
async def refusals_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refusal as refusal:
        return refused(refusal)
    except web.HTTPException as error:
        if error.status == web.HTTPRequestEntityTooLarge.status_code:
            return refused(Refusal(413, "The request body is too large.", kind="invalid_request_error"))
        return refused(RouteNotFound(error.status, request.method, request.path))
    except ConnectionError:
        raise  # the client has left: there is nobody to answer
    except Exception as error:
        logger.exception("A request failed.")
        return refused(GenerationFailed(str(error) or type(error).__name__))


def refused(refusal: Refusal) -> web.Response:
    return json(refusal.body(), status=refusal.status)


def json(body: Any, *, status: int = 200) -> web.Response:
    return web.Response(body=encode(body), status=status, content_type="application/json")


async def health(request: web.Request) -> web.Response:
    return web.Response(status=200 if request.app[ENGINE].scheduler.alive else 503)


async def metrics(request: web.Request) -> web.Response:
    """The numbers of vLLM's that a gateway steers by, under vLLM's names."""
    engine = request.app[ENGINE]
    scheduler = engine.scheduler
    lines = []
    for name, kind, value in (
        ("num_requests_running", "gauge", scheduler.running),
        ("num_requests_waiting", "gauge", scheduler.waiting),
        ("prompt_tokens_total", "counter", scheduler.prompt_tokens),
        ("generation_tokens_total", "counter", scheduler.generated_tokens),
    ):
        lines += [f"# TYPE vllm:{name} {kind}", f'vllm:{name}{{model_name="{engine.name}"}} {value}']
    return web.Response(text="\n".join(lines) + "\n", content_type="text/plain")


async def models(request: web.Request) -> web.Response:
    engine = request.app[ENGINE]
    limit = engine.loaded.max_model_len
    base = ModelCard(id=engine.name, created=engine.created, root=engine.path, parent=None, max_model_len=limit)
    adapters = [
        ModelCard(id=one.name, created=one.created, root=one.path, parent=engine.name, max_model_len=limit)
        for one in engine.adapters.values()
    ]
    return json(ModelList(data=[base, *adapters]))


async def chat_completions(request: web.Request) -> web.StreamResponse:
    engine = request.app[ENGINE]
    call = decode_chat(await request.read())
    protocol.check_chat(call)
    engine.check_model(call.model)
    prompt_ids = await engine.tokenizing(lambda: read_chat(engine, call))
    top_logprobs = (call.top_logprobs or 0) if call.logprobs else None
    asked = call.max_completion_tokens or call.max_tokens
    options = options_for(engine, call, prompt_ids, asked, top_logprobs, "messages")
    reply = Answer(engine, call, ChatWriter(engine.loaded.vocabulary), [prompt_ids], [options])
    return await answer(request, reply)


def read_chat(engine: Engine, call: "protocol.ChatCall | protocol.TokenizeCall", **variables: Any) -> list[int]:
    vocabulary = engine.loaded.vocabulary
    variables = {**(call.chat_template_kwargs or {}), **variables}
    text = vocabulary.render(for_template(call.messages or []), tools_for_template(call.tools), **variables)
    return vocabulary.encode(text, special=False)


async def completions(request: web.Request) -> web.StreamResponse:
    engine = request.app[ENGINE]
    call = decode_completion(await request.read())
    protocol.check_completion(call)
    engine.check_model(call.model)
    prompts = await engine.tokenizing(lambda: read_prompts(engine, call))
    asked = 16 if call.max_tokens is None else call.max_tokens
    options = [options_for(engine, call, ids, asked, call.logprobs, "prompt") for ids in prompts]
    writer = TextWriter(engine.loaded.vocabulary, echoes_of(engine, call, prompts))
    return await answer(request, Answer(engine, call, writer, prompts, options))


def read_prompts(engine: Engine, call: protocol.CompletionCall) -> list[list[int]]:
    prompts = protocol.prompts_of(call, engine.loaded.vocab_size)
    vocabulary = engine.loaded.vocabulary
    read = [vocabulary.encode(one, special=True) if isinstance(one, str) else one for one in prompts]
    if not all(read):
        raise Invalid("Invalid 'prompt': it holds no tokens.", "prompt", "invalid_value")
    return read


def echoes_of(engine: Engine, call: protocol.CompletionCall, prompts: list[list[int]]) -> dict[int, str]:
    if not call.echo:
        return {}
    n = call.n or 1
    texts = [engine.loaded.vocabulary.decode(ids) for ids in prompts]
    return {at * n + index: text for at, text in enumerate(texts) for index in range(n)}


def options_for(
    engine: Engine,
    call: protocol.GenerationCall,
    prompt_ids: list[int],
    max_tokens: int | None,
    top_logprobs: int | None,
    param: str,
) -> Options:
    """Raises ContextTooLong. Without max_tokens an answer may fill the context."""
    loaded = engine.loaded
    room = loaded.max_model_len - len(prompt_ids)
    if room < 1:
        raise ContextTooLong(loaded.max_model_len, len(prompt_ids), param)
    if max_tokens is not None and max_tokens > room:
        raise ContextTooLong(loaded.max_model_len, len(prompt_ids), param, max_tokens)
    return protocol.options_of(
        call,
        loaded.sampling_defaults,
        vocab_size=loaded.vocab_size,
        max_tokens=max_tokens or room,
        stop_ids=loaded.vocabulary.stop_ids,
        top_logprobs=top_logprobs,
    )


async def load_lora_adapter(request: web.Request) -> web.Response:
    call = decode_load(await request.read())
    loading = request.app[ENGINE].load_adapter(call.lora_name, call.lora_path, replace=call.load_inplace)
    await asyncio.shield(loading)  # a caller that leaves must not leave weights behind that have no name
    return web.Response(text=f"Success: LoRA adapter '{call.lora_name}' added successfully.")


async def unload_lora_adapter(request: web.Request) -> web.Response:
    call = decode_unload(await request.read())
    await asyncio.shield(request.app[ENGINE].unload_adapter(call.lora_name))
    return web.Response(text=f"Success: LoRA adapter '{call.lora_name}' removed successfully.")


async def tokenize(request: web.Request) -> web.Response:
    engine = request.app[ENGINE]
    call = decode_tokenize(await request.read())
    if call.model is not None:
        engine.check_model(call.model)
    ids = await engine.tokenizing(lambda: read_tokenize(engine, call))
    return json({"count": len(ids), "max_model_len": engine.loaded.max_model_len, "tokens": ids})


def read_tokenize(engine: Engine, call: protocol.TokenizeCall) -> list[int]:
    if call.messages:
        return read_chat(engine, call, add_generation_prompt=call.add_generation_prompt)
    if call.prompt is None:
        raise Invalid("Missing required parameter: 'messages' or 'prompt'.", "prompt", "missing_required_parameter")
    return engine.loaded.vocabulary.encode(call.prompt, special=call.add_special_tokens is not False)


async def detokenize(request: web.Request) -> web.Response:
    call = decode_detokenize(await request.read())
    return json({"prompt": request.app[ENGINE].loaded.vocabulary.decode(call.tokens, skip_special=False)})
