"""Every URL of the engine."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from trainer.engine import protocol
from trainer.engine.answers import Answer, answer
from trainer.engine.engine import Adapter, Engine
from trainer.engine.loading import LoadedModel
from trainer.engine.messages import for_template, tools_for_template
from trainer.engine.refusals import ContextTooLong, GenerationFailed, Invalid, Refusal, RouteNotFound, WrongQuery
from trainer.engine.replies import ChatWriter, ModelCard, ModelList, TextWriter, encode
from trainer.engine.sampling import Options
from trainer.engine.scheduler import Scheduler
from trainer.engine.vocabulary import Vocabulary
from trainer.engine.weights import Weights

logger = logging.getLogger("tuneway.engine")

ENGINE = web.AppKey("engine", Engine)
LARGEST_BODY = 64 * 2**20
METRICS = {
    "num_requests_running": "gauge",
    "num_requests_waiting": "gauge",
    "prompt_tokens_total": "counter",
    "generation_tokens_total": "counter",
}

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
    app.router.add_post("/sleep", sleep)
    app.router.add_post("/wake_up", wake_up)
    app.router.add_get("/is_sleeping", is_sleeping)
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
    response = json(refusal.body(), status=refusal.status)
    if refusal.retry_after is not None:
        response.headers["Retry-After"] = str(refusal.retry_after)
    return response


def json(body: Any, *, status: int = 200) -> web.Response:
    return web.Response(body=encode(body), status=status, content_type="application/json")


async def health(request: web.Request) -> web.Response:
    """Of an engine that sleeps, too, as vLLM's: nothing is wrong with it."""
    engine = request.app[ENGINE]
    well = not engine.sleep.is_awake or all(weights.scheduler.alive for weights in engine.models)
    return web.Response(status=200 if well else 503)


async def metrics(request: web.Request) -> web.Response:
    """The numbers of vLLM's that a gateway steers by, under vLLM's names."""
    lines = []
    for name, kind in METRICS.items():
        lines.append(f"# TYPE vllm:{name} {kind}")
        lines += [
            f'vllm:{name}{{model_name="{weights.name}"}} {measured(weights.scheduler)[name]}'
            for weights in request.app[ENGINE].models
        ]
    return web.Response(text="\n".join(lines) + "\n", content_type="text/plain")


def measured(scheduler: Scheduler) -> dict[str, int]:
    return {
        "num_requests_running": scheduler.running,
        "num_requests_waiting": scheduler.waiting,
        "prompt_tokens_total": scheduler.prompt_tokens,
        "generation_tokens_total": scheduler.generated_tokens,
    }


async def models(request: web.Request) -> web.Response:
    engine = request.app[ENGINE]
    base = engine.base
    cards = [card(one, one.loaded.max_model_len, None) for one in engine.models]
    cards[1:1] = [card(one, base.loaded.max_model_len, base.name) for one in engine.adapters.values()]
    return json(ModelList(data=cards))


def card(one: Adapter | Weights, max_model_len: int, parent: str | None) -> ModelCard:
    return ModelCard(id=one.name, created=one.created, root=one.path, parent=parent, max_model_len=max_model_len)


async def chat_completions(request: web.Request) -> web.StreamResponse:
    engine = request.app[ENGINE]
    call = decode_chat(await request.read())
    protocol.check_chat(call)
    loaded = engine.weights_of(call.model).loaded
    prompt_ids = await engine.tokenizing(lambda: read_chat(loaded.vocabulary, call))
    top_logprobs = (call.top_logprobs or 0) if call.logprobs else None
    asked = call.max_completion_tokens or call.max_tokens
    options = options_for(loaded, call, prompt_ids, asked, top_logprobs, "messages")
    reply = Answer(engine, call, ChatWriter(loaded.vocabulary), [prompt_ids], [options])
    return await answer(request, reply)


def read_chat(vocabulary: Vocabulary, call: "protocol.ChatCall | protocol.TokenizeCall", **variables: Any) -> list[int]:
    variables = {**(call.chat_template_kwargs or {}), **variables}
    text = vocabulary.render(for_template(call.messages or []), tools_for_template(call.tools), **variables)
    return vocabulary.encode(text, special=False)


async def completions(request: web.Request) -> web.StreamResponse:
    engine = request.app[ENGINE]
    call = decode_completion(await request.read())
    protocol.check_completion(call)
    loaded = engine.weights_of(call.model).loaded
    prompts = await engine.tokenizing(lambda: read_prompts(loaded, call))
    asked = 16 if call.max_tokens is None else call.max_tokens
    options = [options_for(loaded, call, ids, asked, call.logprobs, "prompt") for ids in prompts]
    writer = TextWriter(loaded.vocabulary, echoes_of(loaded.vocabulary, call, prompts))
    return await answer(request, Answer(engine, call, writer, prompts, options))


def read_prompts(loaded: LoadedModel, call: protocol.CompletionCall) -> list[list[int]]:
    prompts = protocol.prompts_of(call, loaded.vocab_size)
    vocabulary = loaded.vocabulary
    read = [vocabulary.encode(one, special=True) if isinstance(one, str) else one for one in prompts]
    if not all(read):
        raise Invalid("Invalid 'prompt': it holds no tokens.", "prompt", "invalid_value")
    return read


def echoes_of(vocabulary: Vocabulary, call: protocol.CompletionCall, prompts: list[list[int]]) -> dict[int, str]:
    if not call.echo:
        return {}
    n = call.n or 1
    texts = [vocabulary.decode(ids) for ids in prompts]
    return {at * n + index: text for at, text in enumerate(texts) for index in range(n)}


def options_for(
    loaded: LoadedModel,
    call: protocol.GenerationCall,
    prompt_ids: list[int],
    max_tokens: int | None,
    top_logprobs: int | None,
    param: str,
) -> Options:
    """Raises ContextTooLong. Without max_tokens an answer may fill the context."""
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


async def sleep(request: web.Request) -> web.Response:
    """vLLM's, in its development mode. Levels 1 and 2 are the same here: the weights are on the disk."""
    level, mode = request.query.get("level", "1"), request.query.get("mode", "abort")
    if level not in ("1", "2"):
        raise WrongQuery(f"Invalid 'level': '{level}'. This engine sleeps at level 1 or 2.", "level")
    if mode not in ("abort", "wait"):
        raise WrongQuery(f"Invalid 'mode': '{mode}'. Calls under way are ended (abort) or waited for (wait).", "mode")
    await asyncio.shield(request.app[ENGINE].sleep.begin(abort=mode == "abort"))
    return json({"status": "sleeping", "level": int(level)})


async def wake_up(request: web.Request) -> web.Response:
    """vLLM's. All that slept are weights: other `tags` wake nothing."""
    sleep, tags = request.app[ENGINE].sleep, request.query.getall("tags", None)
    wanted = tags is None or "weights" in tags
    if wanted:
        await asyncio.shield(sleep.end())
    # An engine that was told to sleep again meanwhile has been awake.
    return json({"status": "awake" if wanted or sleep.is_awake else "sleeping", "tags": tags})


async def is_sleeping(request: web.Request) -> web.Response:
    return json({"is_sleeping": not request.app[ENGINE].sleep.is_awake})


async def tokenize(request: web.Request) -> web.Response:
    engine = request.app[ENGINE]
    call = decode_tokenize(await request.read())
    loaded = engine.weights_of(engine.base.name if call.model is None else call.model).loaded
    ids = await engine.tokenizing(lambda: read_tokenize(loaded.vocabulary, call))
    return json({"count": len(ids), "max_model_len": loaded.max_model_len, "tokens": ids})


def read_tokenize(vocabulary: Vocabulary, call: protocol.TokenizeCall) -> list[int]:
    if call.messages:
        return read_chat(vocabulary, call, add_generation_prompt=call.add_generation_prompt)
    if call.prompt is None:
        raise Invalid("Missing required parameter: 'messages' or 'prompt'.", "prompt", "missing_required_parameter")
    return vocabulary.encode(call.prompt, special=call.add_special_tokens is not False)


async def detokenize(request: web.Request) -> web.Response:
    call = decode_detokenize(await request.read())
    return json({"prompt": request.app[ENGINE].base.loaded.vocabulary.decode(call.tokens, skip_special=False)})
