"""Rows of datasets and their versions: everything is a project's own."""

import hashlib
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, func, select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import DatasetItemRow, DatasetRow, DatasetVersionRow
from gateway.errors import Conflict, NotFound
from gateway.kit.clock import now
from gateway.kit.ids import new_id
from gateway.protocol.dataset_versions import Failure, Progress
from gateway.protocol.recipes import Recipe, stored

UNFINISHED = ("queued", "building")
MOST_UNFINISHED = 20
"""Versions of one project that wait or are built: each reads all of the project's log."""
TRIES = 3
"""A build that ended its worker so often is given up."""

SPLITS = ("training", "validation")
"""A version's files."""

NUMBER = re.compile("[0-9]{1,9}")

Version = DatasetVersionRow


def of_project(project_id: str) -> Select[DatasetRow]:
    return select(DatasetRow).where(DatasetRow.project_id == project_id, DatasetRow.deleted_at.is_(None))


async def find(session: AsyncSession, project_id: str, dataset_id: str, *, lock: bool = False) -> DatasetRow:
    """Raises NotFound, also for another project's dataset."""
    query = of_project(project_id).where(DatasetRow.id == dataset_id)
    row = await session.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise NotFound(f"No dataset with id '{dataset_id}'.", param="dataset_id")
    return row


def of_dataset(dataset_id: str) -> Select[DatasetVersionRow]:
    return select(Version).where(Version.dataset_id == dataset_id)


async def find_version(session: AsyncSession, project_id: str, dataset_id: str, number: str) -> DatasetVersionRow:
    """By its number, as in a URL. Raises NotFound."""
    await find(session, project_id, dataset_id)
    query = of_dataset(dataset_id).where(Version.number == int(number)) if NUMBER.fullmatch(number) else None
    row = await session.scalar(query) if query is not None else None
    if row is None:
        raise NotFound(f"The dataset '{dataset_id}' has no version '{number[:50]}'.", param="version")
    return row


async def newest(session: AsyncSession, dataset_ids: Sequence[str]) -> dict[str, DatasetVersionRow]:
    """The last version of each."""
    last = select(Version.dataset_id, func.max(Version.number)).where(Version.dataset_id.in_(dataset_ids))
    places = tuple_(Version.dataset_id, Version.number)
    rows = await session.scalars(select(Version).where(places.in_(last.group_by(Version.dataset_id))))
    return {row.dataset_id: row for row in rows}


async def add_version(
    session: AsyncSession, dataset: DatasetRow, recipe: Recipe, snapshot_at: datetime, created_by: str
) -> DatasetVersionRow:
    """The next version, which a worker builds. The dataset's row must be locked, or new.

    Raises Conflict: the project has enough of them under way.
    """
    unfinished = select(func.count()).where(Version.project_id == dataset.project_id, Version.status.in_(UNFINISHED))
    if int(await session.scalar(unfinished) or 0) >= MOST_UNFINISHED:
        message = (
            f"{MOST_UNFINISHED} versions of this project's datasets are not built yet; wait for them or cancel some."
        )
        raise Conflict(message, code="too_many_versions")
    last = await session.scalar(select(func.max(Version.number)).where(Version.dataset_id == dataset.id))
    row = DatasetVersionRow(
        id=new_id("dsver_"),
        dataset_id=dataset.id,
        project_id=dataset.project_id,
        number=(last or 0) + 1,
        recipe=stored(recipe),
        snapshot_at=snapshot_at,
        status="queued",
        created_at=now(),
        created_by=created_by,
    )
    session.add(row)
    dataset.updated_at = row.created_at
    return row


async def cancel(session: AsyncSession, row: DatasetVersionRow) -> None:
    """Raises Conflict: it has ended."""
    query = update(Version).where(Version.id == row.id, Version.status.in_(UNFINISHED))
    done = await session.execute(
        query.values(status="cancelled", finished_at=now(), progress=None).returning(Version.id)
    )
    if done.first() is None:
        raise Conflict(f"This version has ended: it is {row.status}.", code="version_ended")
    await session.refresh(row)


async def cancel_all(session: AsyncSession, dataset_id: str) -> list[str]:
    """Whatever of a dataset is not built yet; the ids of these versions."""
    query = update(Version).where(Version.dataset_id == dataset_id, Version.status.in_(UNFINISHED))
    cancelled = query.values(status="cancelled", finished_at=now(), progress=None).returning(Version.id)
    return list(await session.scalars(cancelled))


def file_id(version_id: str, tries: int, split: str) -> str:
    """Of what a worker writes: known beforehand, because one that dies there leaves content that nothing else names. Every
    try has its own, so that a worker who was taken for dead removes nothing of the next one's."""
    return f"file-{hashlib.sha256(f'{version_id}:{tries}:{split}'.encode()).hexdigest()[:24]}"


def files_left(version_id: str, tries: int = TRIES) -> list[str]:
    """Ids of what so many tries may have left."""
    return [file_id(version_id, each, split) for each in range(1, tries + 1) for split in SPLITS]


CLAIM = text("""
UPDATE dataset_versions SET status = 'building', lease_holder = :holder,
    leased_until = now() + make_interval(secs => :seconds),
    progress = jsonb_build_object('stage', 'selecting', 'done', 0, 'total', NULL,
        'tries', coalesce((progress->>'tries')::int, 0) + 1)
WHERE id = (
    SELECT id FROM dataset_versions
    WHERE status IN ('queued', 'building') AND (leased_until IS NULL OR leased_until < now())
        AND snapshot_at + make_interval(secs => :wait) <= now()
    ORDER BY created_at, id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id
""")


async def claim(session: AsyncSession, holder: str, seconds: float, wait: float) -> DatasetVersionRow | None:
    """The version that waits longest, or whose worker is gone, now leased to `holder`.

    Args:
        wait: seconds after the snapshot, before which nothing is built.
    """
    claimed = await session.scalar(CLAIM, {"holder": holder, "seconds": seconds, "wait": wait})
    return await session.get_one(DatasetVersionRow, claimed, populate_existing=True) if claimed else None


def tries_of(row: DatasetVersionRow) -> int:
    """How often workers have begun to build it, this time included."""
    return int((row.progress or {}).get("tries", 1))


async def extend(
    session: AsyncSession, version_id: str, holder: str, seconds: float, progress: Progress | None, tries: int
) -> bool:
    """Hold it on and tell how far it is; False when it was cancelled, or another worker has it."""
    told: dict[str, Any] = {}
    if progress is not None:
        shown = {"stage": progress.stage, "done": progress.done, "total": progress.total, "tries": tries}
        told = {"progress": shown}
    query = _held(version_id, holder).values(leased_until=func.now() + timedelta(seconds=seconds), **told)
    return (await session.execute(query.returning(Version.id))).first() is not None


async def give_back(session: AsyncSession, version_id: str, holder: str, tries: int) -> None:
    """For the next worker, at once; that this one stopped is no fault of the build."""
    progress = {"stage": "selecting", "done": 0, "total": None, "tries": tries - 1}
    values = {"status": "queued", "leased_until": None, "lease_holder": None, "progress": progress}
    await session.execute(_held(version_id, holder).values(**values))


async def fail(session: AsyncSession, version_id: str, holder: str, failure: Failure, **values: Any) -> None:
    """It ends without files; `values` are further columns, such as its report."""
    error = {"code": failure.code, "message": failure.message}
    ended = {"status": "failed", "error": error, "finished_at": now(), "progress": None, "leased_until": None}
    await session.execute(_held(version_id, holder).values(**ended, **values))


async def complete(session: AsyncSession, version_id: str, holder: str, **values: Any) -> bool:
    """With its files and its report; False when it was cancelled, or another worker has it."""
    ended = {"status": "completed", "finished_at": now(), "progress": None, "leased_until": None}
    done = await session.execute(_held(version_id, holder).values(**ended, **values).returning(Version.id))
    return done.first() is not None


def _held(version_id: str, holder: str) -> Any:
    return update(Version).where(Version.id == version_id, Version.status == "building", Version.lease_holder == holder)


def items_of(version_id: str) -> Select[DatasetItemRow]:
    return select(DatasetItemRow).where(DatasetItemRow.version_id == version_id)
