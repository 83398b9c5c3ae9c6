"""Writes the audit log: each entry in the transaction of the change that it tells of."""

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import AuditLogRow
from gateway.kit.clock import now
from gateway.kit.ids import new_id
from gateway.protocol.audit_logs import Actor


def write(
    session: AsyncSession,
    actor: Actor,
    type: str,
    resource_id: str,
    *,
    project_id: str | None = None,
    detail: dict[str, Any] | None = None,
) -> None:
    """One entry.

    Args:
        type: one of OpenAI's event types. What OpenAI does not have is a change of what it belongs to: a budget of a
            project is `project.updated`, a price is `organization.updated`.
        detail: shown beside the id: `data` of what was made, `changes_requested` of what was changed. Never a secret. An
            `id` in it is shown in place of `resource_id`, which then serves the filter `resource_ids` alone.
    """
    session.add(
        AuditLogRow(
            id=new_id("audit_log-"),
            effective_at=now(),
            type=type,
            project_id=project_id,
            actor=actor.shown,
            actor_id=actor.id,
            actor_email=actor.email,
            resource_id=resource_id,
            detail=detail or {},
        )
    )


@dataclass(frozen=True)
class Owner:
    """What a thing belongs to that OpenAI's audit log has no type for."""

    type: Literal["organization", "project", "api_key"]
    id: str
    project_id: str | None = None


def owner_of(organization: str, project_id: str | None, api_key_id: str | None = None) -> Owner:
    """The key, else the project, else the organisation."""
    if api_key_id is not None:
        return Owner("api_key", api_key_id, project_id)
    return Owner("project", project_id, project_id) if project_id is not None else Owner("organization", organization)


def write_change(session: AsyncSession, actor: Actor, owner: Owner, thing_id: str, changes: dict[str, Any]) -> None:
    """An update of `owner`, which is found by the id of the thing as well (`resource_ids`)."""
    detail = {"id": owner.id, "changes_requested": changes}
    write(session, actor, f"{owner.type}.updated", thing_id, project_id=owner.project_id, detail=detail)
