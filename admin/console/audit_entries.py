"""Entries of the audit log as people read them: who, what, from where, and what changed, field by field."""

from typing import Any, NamedTuple

from admin.console.api import Json

EVENTS = (
    "api_key.created", "api_key.updated", "api_key.deleted",
    "checkpoint.permission.created", "checkpoint.permission.deleted",
    "invite.sent", "invite.accepted", "invite.deleted",
    "login.succeeded", "login.failed", "logout.succeeded",
    "organization.updated",
    "project.created", "project.updated", "project.archived",
    "rate_limit.updated", "rate_limit.deleted",
    "service_account.created", "service_account.updated", "service_account.deleted",
    "user.added", "user.updated", "user.deleted",
)  # fmt: skip
"""What a filter offers."""
DEEPEST = 3
"""Levels that are taken apart; what lies below is shown as it is."""


MOST_NAMED = 6
"""Of a list; all of it is in the export."""


class Line(NamedTuple):
    """An entry."""

    id: str
    when: int
    type: str
    who: str
    """An email, or the id of a key."""
    kind: str
    """What acted: a person in a browser or a key."""
    address: str
    agent: str
    project: Json | None
    resource: str
    changes: list[tuple[str, str]]
    """Field and value."""


def line_of(entry: Json) -> Line:
    """Of an object of GET /v1/organization/audit_logs."""
    actor = entry["actor"]
    kind, acted = actor["type"], actor[actor["type"]]
    person = (acted.get("user") or {}).get("email")
    detail: dict[str, Any] = entry.get(entry["type"]) or {}
    told = {name: value for name, value in detail.items() if name not in ("id", "data", "changes_requested")}
    told |= (detail.get("data") or {}) | (detail.get("changes_requested") or {})
    return Line(
        id=entry["id"],
        when=entry["effective_at"],
        type=entry["type"],
        who=person or (acted["id"] if kind == "api_key" else "nobody known"),
        kind="browser" if kind == "session" else "key",
        address=acted.get("ip_address") or "",
        agent=acted.get("user_agent") or "",
        project=entry.get("project"),
        resource=detail.get("id") or "",
        changes=_fields(told),
    )


def _fields(told: dict[str, Any], above: str = "", depth: int = 1) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, value in told.items():
        full = f"{above}{name}"
        if isinstance(value, dict) and value and depth < DEEPEST:
            found += _fields(value, f"{full}.", depth + 1)
        else:
            found.append((full, _said(value)))
    return found


def _said(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case list():
            more = f", and {len(value) - MOST_NAMED:,} more" if len(value) > MOST_NAMED else ""
            return (", ".join(_said(each) for each in value[:MOST_NAMED]) or "none") + more
        case dict():
            return " ".join(f"{name}={_said(each)}" for name, each in value.items()) or "none"
        case _:
            return str(value)
