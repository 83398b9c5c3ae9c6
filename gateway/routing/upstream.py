"""Who answers calls: an engine of ours, or a provider."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.protocol.upstreams import Kind


@dataclass(frozen=True, slots=True, eq=False)
class Upstream:
    """One or more base URLs that serve the same models. A changed one is another object: what is kept for it goes by that."""

    name: str
    base_urls: tuple[str, ...]
    """Of each replica, without a slash at the end."""
    api_key: str = field(default="", repr=False)
    is_engine: bool = False
    """Ours (vLLM's API): knows adapters, reports usage with every chunk, and stops at once when its client leaves."""
    kind: Kind = "openai"
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """Sent with every call, beside the key; some are secret."""
    proxy: str | None = field(default=None, repr=False)
    """URL of an HTTP proxy on the way, maybe with user and password."""

    @property
    def base_url(self) -> str:
        """Of the first replica."""
        return self.base_urls[0]


def extra_headers(headers: Mapping[str, str], organization: str | None, project: str | None) -> dict[str, str]:
    """What goes with every call beside the key, names in lower case: organisation and project as OpenAI's API takes them
    (contract section 0, "Auth"), and the headers that were given, which win."""
    named = {"openai-organization": organization, "openai-project": project}
    own = {name.lower(): value for name, value in headers.items()}
    return {name: value for name, value in named.items() if value} | own
