"""SQL of projects and service accounts."""

from sqlalchemy import Select, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.mirror import touch
from gateway.db.tables import ApiKeyRow, ProjectRow, ServiceAccountRow
from gateway.errors import NotFound


def projects(*, include_archived: bool) -> Select[ProjectRow]:
    query = select(ProjectRow)
    return query if include_archived else query.where(ProjectRow.archived_at.is_(None))


async def project(session: AsyncSession, project_id: str) -> ProjectRow:
    """Raises NotFound."""
    row = await session.get(ProjectRow, project_id)
    if row is None:
        raise NotFound(f"No project with id '{project_id}'.", param="project_id")
    return row


async def archive(session: AsyncSession, row: ProjectRow) -> None:
    """Its keys and routes stop working everywhere within a second; nothing is deleted."""
    if row.archived_at is None:
        row.archived_at = func.now()  # type: ignore[assignment]
        await touch(session, "api_keys")
        await touch(session, "routes")
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


async def accounts_of(session: AsyncSession, keys: list[ApiKeyRow]) -> dict[str, ServiceAccountRow]:
    """Owners of keys by id, deleted ones too."""
    ids = {key.service_account_id for key in keys}
    rows = await session.scalars(select(ServiceAccountRow).where(ServiceAccountRow.id.in_(ids)))
    return {row.id: row for row in rows}


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
