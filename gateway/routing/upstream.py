"""Who answers calls: an engine of ours, or a provider."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.protocol.upstreams import Kind


@dataclass(frozen=True, slots=True)
class Upstream:
    """One or more base URLs that serve the same models."""

    name: str
    base_urls: tuple[str, ...]
    """Of each replica, without a slash at the end."""
    api_key: str = ""
    is_engine: bool = False
    """Ours (vLLM's API): knows adapters, reports usage with every chunk, and stops at once when its client leaves."""
    kind: Kind = "openai"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Sent with every call, beside the key."""
    proxy: str | None = None
    """URL of an HTTP proxy on the way."""

    @property
    def base_url(self) -> str:
        """Of the first replica."""
        return self.base_urls[0]
