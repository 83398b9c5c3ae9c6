"""Writes the audit log: each entry in the transaction of the change that it tells of."""

from typing import Any

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
        detail: shown beside the id: `data` of what was made, `changes_requested` of what was changed. Never a secret.
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
