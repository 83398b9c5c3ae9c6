"""SQL of files. A file that expired is gone, whether or not its content was removed yet."""

from sqlalchemy import Select, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import FileRow
from gateway.errors import NotFound


def of_project(project_id: str) -> Select[FileRow]:
    """Every file that is there."""
    return select(FileRow).where(
        FileRow.project_id == project_id,
        FileRow.deleted_at.is_(None),
        or_(FileRow.expires_at.is_(None), FileRow.expires_at > func.now()),
    )


async def find(session: AsyncSession, project_id: str, file_id: str) -> FileRow:
    """Raises NotFound, also for another project's file."""
    row = await session.scalar(of_project(project_id).where(FileRow.id == file_id))
    if row is None:
        raise NotFound(f"No such File object: {file_id}", param="id")
    return row


def expired(limit: int = 100) -> Select[FileRow]:
    """Files of any project that are past their time but whose content was not removed yet."""
    past = select(FileRow).where(FileRow.deleted_at.is_(None), FileRow.expires_at <= func.now())
    return past.order_by(FileRow.expires_at).limit(limit)


async def hide(session: AsyncSession, file_id: str) -> None:
    await session.execute(update(FileRow).where(FileRow.id == file_id).values(deleted_at=func.now()))
