"""The part of vLLM's API that only an engine of ours has: its health, adapters that come and go, the probe, and sleep."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import PurePath
from typing import Any

import msgspec

from gateway.errors import ErrorObject, Refusal, UpstreamFailed, UpstreamRefused, UpstreamTimeout
from gateway.upstreams.client import UpstreamClient, UpstreamReply

NAME = "engine"
NO_UPDATES = ErrorObject(
    message="it loads no adapters at run time. Start vLLM with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1.",
    type="invalid_request_error",
    code="no_runtime_updating",
)
LOOK_SECONDS = 5.0
"""For what an engine answers from memory."""
LOAD_SECONDS = 120.0
"""For reading weights; a model with weights of its own takes longest."""
PROBE_SECONDS = 60.0
SLEEP_SECONDS = 600.0
"""It first finishes the answers that it is writing."""
WAKE_SECONDS = 120.0


class _Card(msgspec.Struct):
    id: str
    root: str | None = None


class _Models(msgspec.Struct):
    data: list[_Card]


class _Token(msgspec.Struct):
    logprob: float


class _Choice(msgspec.Struct):
    prompt_logprobs: list[dict[str, _Token] | None] | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]


class _Sleeping(msgspec.Struct):
    is_sleeping: bool


decode_models = msgspec.json.Decoder(_Models).decode
decode_completion = msgspec.json.Decoder(_Completion).decode
decode_sleeping = msgspec.json.Decoder(_Sleeping).decode


class Engine:
    """The engine at a base URL that ends in /v1. Every call is bounded in time: one that hangs raises UpstreamTimeout."""

    def __init__(self, client: UpstreamClient, base_url: str, api_key: str = "") -> None:
        self._client = client
        self._base_url = base_url.rstrip("/")
        self._root = self._base_url.removesuffix("/v1")
        self._api_key = api_key

    async def health(self) -> None:
        """Raises UpstreamFailed or UpstreamTimeout while the engine cannot answer."""
        await self._get(f"{self._root}/health")

    async def is_well(self) -> bool:
        try:
            await self.health()
        except Refusal:
            return False
        return True

    async def models(self) -> dict[str, str | None]:
        """What it serves now, base and adapters: name -> where it was loaded from. Raises UpstreamFailed."""
        try:
            answer = decode_models(await self._get(f"{self._base_url}/models"))
        except msgspec.MsgspecError as error:
            raise UpstreamFailed(f"What the engine calls its models cannot be read: {error}.") from error
        return {card.id: card.root for card in answer.data}

    async def load_adapter(self, name: str, path: PurePath) -> None:
        """Load one adapter, or (the embedded engine) a model with weights of its own; one that is loaded already is fine.

        Args:
            path: as the engine's machine sees it.

        Raises:
            UpstreamRefused: the engine does not take it, with its reason.
            UpstreamFailed: it is away, or broke over it. vLLM answers 500 when an adapter does not fit.
        """
        body = {"lora_name": name, "lora_path": str(path)}
        try:
            await self._read(f"{self._base_url}/load_lora_adapter", body, LOAD_SECONDS)
        except UpstreamRefused as refusal:
            if "already been loaded" in str(refusal):
                return
            if refusal.upstream_status == 404 and name not in str(refusal):
                raise UpstreamRefused(404, NO_UPDATES) from refusal
            raise

    async def unload_adapter(self, name: str) -> None:
        """Make the engine forget one adapter; one that is not loaded is fine. Raises UpstreamRefused, UpstreamFailed."""
        try:
            await self._read(f"{self._base_url}/unload_lora_adapter", {"lora_name": name}, LOAD_SECONDS)
        except UpstreamRefused as refusal:
            if refusal.upstream_status != 404:
                raise

    async def prompt_logprobs(self, model: str, prompt: list[int] | str) -> list[float] | None:
        """How probable `model` finds each token of a prompt but the first, natural logarithm.

        Returns:
            One number less than the prompt has tokens; None where the engine does not say (prompt_logprobs is vLLM's
            extension of OpenAI's API).

        Raises:
            UpstreamRefused: it does not know the model, or not prompt_logprobs.
            UpstreamFailed: it is away, or broke over it.
        """
        body = {"model": model, "prompt": prompt, "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0}
        raw = await self._read(f"{self._base_url}/completions", body, PROBE_SECONDS)
        try:
            [choice] = decode_completion(raw).choices
        except (msgspec.MsgspecError, ValueError) as error:
            raise UpstreamFailed(f"What the engine says of a prompt cannot be read: {error}.") from error
        if choice.prompt_logprobs is None or len(choice.prompt_logprobs) < 2:
            return None
        ids = prompt if isinstance(prompt, list) else [None] * len(choice.prompt_logprobs)
        return [_of_token(token, id) for id, token in zip(ids[1:], choice.prompt_logprobs[1:], strict=False)]

    async def is_sleeping(self) -> bool:
        """False also for an engine that cannot sleep. Raises UpstreamFailed: it is away."""
        try:
            return decode_sleeping(await self._get(f"{self._root}/is_sleeping")).is_sleeping
        except (UpstreamRefused, msgspec.MsgspecError):
            return False

    async def sleep(self) -> None:
        """Finish the answers on their way, then give the device's memory away. Raises UpstreamRefused, UpstreamFailed."""
        await self._read(f"{self._root}/sleep?level=1&mode=wait", {}, SLEEP_SECONDS)

    async def wake_up(self) -> None:
        """Take the memory back. Raises UpstreamRefused, UpstreamFailed."""
        await self._read(f"{self._root}/wake_up", {}, WAKE_SECONDS)

    async def _get(self, url: str) -> bytes:
        async with _within(LOOK_SECONDS):
            return await self._client.get(NAME, url, api_key=self._api_key)

    async def _read(self, url: str, body: dict[str, Any], seconds: float) -> bytes:
        async with _within(seconds):
            reply: UpstreamReply = await self._client.post(NAME, url, msgspec.json.encode(body), api_key=self._api_key)
            return await reply.read()


@asynccontextmanager
async def _within(seconds: float) -> AsyncGenerator[None]:
    scope = asyncio.timeout(seconds)
    try:
        async with scope:
            yield
    except TimeoutError as error:
        raise UpstreamTimeout(f"The engine did not answer within {seconds:g} s.") from error


def _of_token(token: dict[str, _Token] | None, token_id: int | None) -> float:
    """Of the token itself; an engine may name more probable ones beside it. Raises UpstreamFailed."""
    if token and (
        found := token.get(str(token_id)) or next(iter(token.values()) if token_id is None else iter(()), None)
    ):
        return found.logprob
    raise UpstreamFailed("What the engine says of a prompt lacks one of its tokens.")
