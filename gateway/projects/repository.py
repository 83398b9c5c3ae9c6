"""SQL of projects and service accounts."""

from typing import Any

from sqlalchemy import Select, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.changes import touch
from gateway.db.reply_generations import forget_replies
from gateway.db.tables import ApiKeyRow, ProjectRow, ServiceAccountRow
from gateway.errors import InvalidRequest, NotFound
from gateway.kit.clock import now
from gateway.kit.ids import new_id


def projects(*, include_archived: bool) -> Select[ProjectRow]:
    query = select(ProjectRow)
    return query if include_archived else query.where(ProjectRow.archived_at.is_(None))


async def project(session: AsyncSession, project_id: str) -> ProjectRow:
    """Raises NotFound."""
    row = await session.get(ProjectRow, project_id)
    if row is None:
        raise NotFound(f"No project with id '{project_id}'.", param="project_id")
    return row


async def active_project(session: AsyncSession, project_id: str) -> ProjectRow:
    """One that may be changed. Raises NotFound, InvalidRequest."""
    row = await project(session, project_id)
    if row.archived_at is not None:
        raise InvalidRequest(f"The project '{project_id}' is archived: it cannot be changed.", param="project_id")
    return row


async def change_models(session: AsyncSession, row: ProjectRow, permissions: dict[str, Any] | None) -> None:
    """Which models its keys may call: OpenAI's object, or None for every one; everywhere within a second."""
    row.model_permissions = permissions
    await touch(session, "api_keys")


async def archive(session: AsyncSession, row: ProjectRow) -> None:
    """Its keys and routes stop working everywhere within a second; nothing is deleted."""
    if row.archived_at is None:
        row.archived_at = func.now()  # type: ignore[assignment]
        await touch(session, "api_keys")
        await touch(session, "routes")
        await forget_replies(session, row.id)
        await session.flush()
        await session.refresh(row)


def service_accounts(project_id: str) -> Select[ServiceAccountRow]:
    return select(ServiceAccountRow).where(
        ServiceAccountRow.project_id == project_id, ServiceAccountRow.deleted_at.is_(None)
    )


async def service_account(session: AsyncSession, project_id: str, account_id: str) -> ServiceAccountRow:
    """Raises NotFound."""
    row = await session.scalar(service_accounts(project_id).where(ServiceAccountRow.id == account_id))
    if row is None:
        raise NotFound(f"No service account with id '{account_id}' in this project.", param="service_account_id")
    return row


async def create_service_account(session: AsyncSession, project_id: str, name: str, role: str) -> ServiceAccountRow:
    row = ServiceAccountRow(id=new_id("svc_acct_"), project_id=project_id, name=name, role=role, created_at=now())
    session.add(row)
    await session.flush()
    return row


async def delete_service_account(session: AsyncSession, account_id: str) -> None:
    """The account and every key it owns."""
    await session.execute(
        update(ServiceAccountRow).where(ServiceAccountRow.id == account_id).values(deleted_at=func.now())
    )
    await session.execute(
        update(ApiKeyRow)
        .where(ApiKeyRow.service_account_id == account_id, ApiKeyRow.revoked_at.is_(None))
        .values(revoked_at=func.now())
    )
    await touch(session, "api_keys")
