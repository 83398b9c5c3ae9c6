"""Audit logs of the Administration API (contract section 8)."""

from typing import Any

import msgspec

TUNEWAY = "tuneway"


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


def own_actor() -> Actor:
    """Tuneway itself, where it does what somebody has set."""
    account = {"type": "service_account", "service_account": {"id": TUNEWAY}}
    return Actor(id=TUNEWAY, email=None, shown={"type": "api_key", "api_key": {"id": TUNEWAY} | account})


def session_actor(user_id: str | None, *, email: str | None, ip_address: str, user_agent: str) -> Actor:
    """A person in a browser; nobody known where a sign-in failed. The user agent is our addition to OpenAI's object."""
    user = {"id": user_id, "email": email} if user_id else {}
    shown = {"user": user, "ip_address": ip_address, "user_agent": user_agent}
    return Actor(id=user_id or "", email=email, shown={"type": "session", "session": shown})


class AuditProject(msgspec.Struct, kw_only=True):
    id: str
    name: str


def shown(entry: "Entry") -> dict[str, Any]:
    """OpenAI's audit log object: what happened stands below a key that is named like the type."""
    project = {"project": msgspec.to_builtins(entry.project)} if entry.project else {}
    return {
        "object": "organization.audit_log",
        "id": entry.id,
        "type": entry.type,
        "effective_at": entry.effective_at,
        **project,
        "actor": entry.actor,
        entry.type: {"id": entry.resource_id} | entry.detail if entry.resource_id else entry.detail,
    }


class Entry(msgspec.Struct, kw_only=True):
    """One entry of the log, as it is stored."""

    id: str
    type: str
    effective_at: int
    project: AuditProject | None
    actor: dict[str, Any]
    resource_id: str | None
    detail: dict[str, Any]
