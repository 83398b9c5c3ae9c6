"""The part of vLLM's API that only an engine of ours has: its health, and adapters that come and go at run time."""

from pathlib import Path

import msgspec

from gateway.errors import ErrorObject, Refusal, UpstreamFailed, UpstreamRefused
from gateway.upstreams.client import UpstreamClient

NAME = "engine"
NO_UPDATES = ErrorObject(
    message="it loads no adapters at run time. Start vLLM with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1.",
    type="invalid_request_error",
)


class _Card(msgspec.Struct):
    id: str
    root: str | None = None


class _Models(msgspec.Struct):
    data: list[_Card]


decode_models = msgspec.json.Decoder(_Models).decode


class Engine:
    """The engine at a base URL that ends in /v1."""

    def __init__(self, client: UpstreamClient, base_url: str) -> None:
        self._client = client
        self._base_url = base_url.rstrip("/")

    async def health(self) -> None:
        """Raises UpstreamFailed or UpstreamTimeout while the engine cannot answer."""
        await self._client.get(NAME, self._base_url.removesuffix("/v1") + "/health")

    async def is_well(self) -> bool:
        try:
            await self.health()
        except Refusal:
            return False
        return True

    async def models(self) -> dict[str, str | None]:
        """What it serves now, base and adapters: name -> where it was loaded from. Raises UpstreamFailed."""
        try:
            answer = decode_models(await self._client.get(NAME, f"{self._base_url}/models"))
        except msgspec.MsgspecError as error:
            raise UpstreamFailed(f"What the engine calls its models cannot be read: {error}.") from error
        return {card.id: card.root for card in answer.data}

    async def load_adapter(self, name: str, path: Path) -> None:
        """Load one adapter, or (the embedded engine) a model with weights of its own; one that is loaded already is fine.

        Raises:
            UpstreamRefused: the engine does not take it, with its reason.
            UpstreamFailed: it is away, or broke over it.
        """
        try:
            await self._post("load_lora_adapter", {"lora_name": name, "lora_path": str(path)})
        except UpstreamRefused as refusal:
            if "already been loaded" in str(refusal):
                return
            if refusal.upstream_status == 404 and name not in str(refusal):
                raise UpstreamRefused(404, NO_UPDATES) from refusal
            raise

    async def unload_adapter(self, name: str) -> None:
        """Make the engine forget one adapter; one that is not loaded is fine. Raises UpstreamRefused, UpstreamFailed."""
        try:
            await self._post("unload_lora_adapter", {"lora_name": name})
        except UpstreamRefused as refusal:
            if refusal.upstream_status != 404:
                raise

    async def _post(self, action: str, body: dict[str, str]) -> None:
        reply = await self._client.post(NAME, f"{self._base_url}/{action}", msgspec.json.encode(body))
        await reply.read()
