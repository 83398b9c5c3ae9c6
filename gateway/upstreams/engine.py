"""The part of vLLM's API that only an engine of ours has: its health, and adapters that come and go at run time."""

from pathlib import Path
from typing import Any

import msgspec

from gateway.errors import UpstreamRefused
from gateway.upstreams.client import UpstreamClient

NAME = "engine"


class Engine:
    """The engine at a base URL that ends in /v1."""

    def __init__(self, client: UpstreamClient, base_url: str) -> None:
        self._client = client
        self._base_url = base_url.rstrip("/")

    async def health(self) -> None:
        """Raises UpstreamFailed or UpstreamTimeout while the engine cannot answer."""
        await self._client.get(NAME, self._base_url.removesuffix("/v1") + "/health")

    async def models(self) -> set[str]:
        """Names that it serves now, base and adapters. Raises UpstreamFailed."""
        answer: Any = msgspec.json.decode(await self._client.get(NAME, f"{self._base_url}/models"))
        return {model["id"] for model in answer["data"]}

    async def load_adapter(self, name: str, path: Path) -> None:
        """Load one adapter; one that is loaded already is fine.

        Raises:
            UpstreamRefused, UpstreamFailed: the engine does not take it, with its reason, or is away.
        """
        body = msgspec.json.encode({"lora_name": name, "lora_path": str(path)})
        try:
            reply = await self._client.post(NAME, f"{self._base_url}/load_lora_adapter", body)
            await reply.read()
        except UpstreamRefused as refusal:
            if "already been loaded" not in str(refusal):
                raise
