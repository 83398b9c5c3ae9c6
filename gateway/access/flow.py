"""A sign-in with an OpenID Connect provider under way, and what comes of it. Apart from what it takes (open_id.py), which
is imported only where there is such a provider."""

from dataclasses import dataclass
from typing import Protocol

import msgspec

FLOW_SECONDS = 600
"""How long somebody may take to sign in at the provider."""


class Flow(msgspec.Struct, frozen=True):
    """A sign-in under way: what the browser brings back, sealed, in a cookie."""

    state: str
    nonce: str
    verifier: str
    return_to: str
    expires_at: float


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom the provider vouches for."""

    issuer: str
    subject: str
    email: str
    """In lower case; empty where the provider does not tell it."""
    email_verified: bool
    name: str | None


class Provider(Protocol):
    """Whoever vouches for people (gateway/access/open_id.py)."""

    async def begin(self, redirect_uri: str, return_to: str) -> tuple[str, str]:
        """Where to send the browser, and the value of its cookie. Raises Unavailable."""
        ...

    def flow(self, cookie: str | None, state: str | None) -> Flow:
        """The sign-in that this browser began. Raises InvalidRequest when it began none with that state."""
        ...

    async def identity(self, flow: Flow, code: str, redirect_uri: str) -> Identity:
        """Whom the provider vouches for. Raises Forbidden, Unavailable."""
        ...
