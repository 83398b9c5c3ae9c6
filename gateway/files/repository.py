"""SQL of files and uploads. A file that expired is gone, whether or not its content was removed yet."""

from datetime import datetime

from sqlalchemy import Select, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import FileRow, UploadPartRow, UploadRow
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


async def bytes_of(session: AsyncSession, project_id: str) -> int:
    """All its files together, and those that its pending uploads announce: their parts take that room already, or will."""
    files = of_project(project_id).with_only_columns(func.coalesce(func.sum(FileRow.bytes), 0))
    announced = select(func.coalesce(func.sum(UploadRow.bytes), 0)).where(
        UploadRow.project_id == project_id, UploadRow.status == "pending", UploadRow.expires_at > func.now()
    )
    return int(await session.scalar(files) or 0) + int(await session.scalar(announced) or 0)


def expired(limit: int = 100) -> Select[FileRow]:
    """Files of any project that are past their time but whose content was not removed yet."""
    past = select(FileRow).where(FileRow.deleted_at.is_(None), FileRow.expires_at <= func.now())
    return past.order_by(FileRow.expires_at).limit(limit)


async def is_there(session: AsyncSession, row: FileRow) -> bool:
    """Whether this row was committed. Waits for a transaction that is still committing it, as reading it would not."""
    values = {column.key: getattr(row, column.key) for column in FileRow.__table__.columns}
    added = await session.scalar(insert(FileRow).values(values).on_conflict_do_nothing().returning(FileRow.id))
    if added is not None:
        await session.execute(delete(FileRow).where(FileRow.id == added))
    return added is None


async def hide(session: AsyncSession, file_id: str) -> None:
    await session.execute(update(FileRow).where(FileRow.id == file_id).values(deleted_at=func.now()))


async def find_upload(session: AsyncSession, project_id: str, upload_id: str) -> UploadRow:
    """Raises NotFound, also for another project's upload."""
    uploads = select(UploadRow).where(UploadRow.project_id == project_id, UploadRow.id == upload_id)
    row = await session.scalar(uploads)
    if row is None:
        raise NotFound(f"No such Upload object: {upload_id}", param="upload_id")
    return row


async def lock_upload(session: AsyncSession, upload_id: str) -> UploadRow:
    """As it is now, and nobody else changes it before this transaction ends."""
    return await session.get_one(UploadRow, upload_id, with_for_update=True, populate_existing=True)


async def parts_of(session: AsyncSession, upload_id: str) -> list[UploadPartRow]:
    return list(await session.scalars(select(UploadPartRow).where(UploadPartRow.upload_id == upload_id)))


async def parts_so_far(session: AsyncSession, upload_id: str) -> tuple[int, int]:
    """How many, and their bytes together."""
    parts = select(func.count(), func.coalesce(func.sum(UploadPartRow.bytes), 0))
    count, size = (await session.execute(parts.where(UploadPartRow.upload_id == upload_id))).one()
    return count, int(size)


async def expire_uploads(session: AsyncSession, before: datetime) -> None:
    """Close those that nobody completed and whose time was over at `before`."""
    past = update(UploadRow).where(UploadRow.status == "pending", UploadRow.expires_at <= before)
    await session.execute(past.values(status="expired"))


async def leftover_parts(session: AsyncSession, limit: int = 500) -> list[str]:
    """Ids of parts whose upload ended."""
    ended = select(UploadPartRow.id).join(UploadRow).where(UploadRow.status != "pending")
    return list(await session.scalars(ended.limit(limit)))


async def forget_parts(session: AsyncSession, part_ids: list[str]) -> None:
    await session.execute(delete(UploadPartRow).where(UploadPartRow.id.in_(part_ids)))
