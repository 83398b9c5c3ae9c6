"""Audit logs of the Administration API (contract section 8)."""

from typing import Any

import msgspec


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Who did something, and from where."""

    id: str
    """Of the user or of the API key."""
    email: str | None
    shown: dict[str, Any]
    """OpenAI's actor object: {"type": "session" | "api_key", "session" | "api_key": {...}}."""


def key_actor(key_id: str, *, user_id: str | None, email: str | None, ip_address: str, user_agent: str) -> Actor:
    """An admin key. Where the call came from is our addition to OpenAI's object.

    A key that nobody in particular made (the first one) is shown as a service account's.
    """
    owner = {"type": "user", "user": {"id": user_id, "email": email}} if user_id else {"type": "service_account"}
    account = {} if user_id else {"service_account": {"id": key_id}}
    where = {"ip_address": ip_address, "user_agent": user_agent}
    return Actor(id=key_id, email=email, shown={"type": "api_key", "api_key": {"id": key_id} | owner | account | where})
