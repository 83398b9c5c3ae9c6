"""SQL of judges and their versions: a project's own."""

from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import CriterionRow, JudgeRow, JudgeVersionRow
from gateway.errors import Conflict, NotFound
from gateway.kit.clock import now
from gateway.kit.ids import new_id


def judges(project_id: str, *, include_archived: bool = False) -> Select[JudgeRow]:
    query = select(JudgeRow).where(JudgeRow.project_id == project_id)
    return query if include_archived else query.where(JudgeRow.archived_at.is_(None))


async def judge(session: AsyncSession, project_id: str, judge_id: str, *, for_update: bool = False) -> JudgeRow:
    """By its id or its name, also an archived one by its id. Raises NotFound."""
    query = select(JudgeRow).where(JudgeRow.project_id == project_id)
    named = (JudgeRow.name == judge_id) & JudgeRow.archived_at.is_(None)
    query = query.where((JudgeRow.id == judge_id) | named)
    row = await session.scalar(query.with_for_update() if for_update else query)
    if row is None:
        raise NotFound(f"No judge with id or name '{judge_id}'.", param="judge_id")
    return row


async def changeable(session: AsyncSession, project_id: str, judge_id: str) -> JudgeRow:
    """One that is not archived, locked. Raises NotFound, Conflict."""
    row = await judge(session, project_id, judge_id, for_update=True)
    if row.archived_at is not None:
        raise Conflict(f"The judge '{row.name}' is archived.")
    return row


async def create(session: AsyncSession, project_id: str, name: str, kind: str, **values: Any) -> JudgeRow:
    """Without a version yet. Raises Conflict: the name is taken."""
    moment = now()
    row = JudgeRow(
        id=new_id("judge_"),
        project_id=project_id,
        name=name,
        kind=kind,
        version=0,
        created_at=moment,
        updated_at=moment,
        watched_until=None,
        archived_at=None,
        lagging_since=None,
        **values,
    )
    session.add(row)
    await _flush(session, name)
    return row


async def rename(session: AsyncSession, row: JudgeRow, name: str) -> None:
    """Raises Conflict: the name is taken."""
    row.name = name
    await _flush(session, name)


async def add_version(
    session: AsyncSession, row: JudgeRow, criterion: CriterionRow, stored: tuple[dict[str, Any], str], created_by: str
) -> JudgeVersionRow:
    """The version in force when it says just that; else the next one, which is in force from now on.

    Args:
        row: locked, or new.
        stored: a spec and its SHA-256 (specs.py).
    """
    spec, digest = stored
    if row.version:
        current = await version(session, row)
        if (current.criterion_id, current.spec_sha256) == (criterion.id, digest):
            return current
    row.version += 1
    made = JudgeVersionRow(
        id=new_id("judgever_"),
        judge_id=row.id,
        number=row.version,
        criterion_id=criterion.id,
        spec=spec,
        spec_sha256=digest,
        created_at=now(),
        created_by=created_by,
    )
    session.add(made)
    await session.flush()
    return made


async def version(session: AsyncSession, row: JudgeRow) -> JudgeVersionRow:
    """In force."""
    query = select(JudgeVersionRow).where(JudgeVersionRow.judge_id == row.id, JudgeVersionRow.number == row.version)
    return (await session.scalars(query)).one()


async def versions_in_force(session: AsyncSession, rows: list[JudgeRow]) -> dict[str, JudgeVersionRow]:
    """By the judge's id."""
    query = select(JudgeVersionRow).join(JudgeRow, JudgeRow.id == JudgeVersionRow.judge_id)
    query = query.where(JudgeRow.id.in_([row.id for row in rows]), JudgeVersionRow.number == JudgeRow.version)
    return {row.judge_id: row for row in await session.scalars(query)}


def versions(judge_id: str) -> Select[JudgeVersionRow]:
    return select(JudgeVersionRow).where(JudgeVersionRow.judge_id == judge_id)


async def criteria_of(session: AsyncSession, rows: list[JudgeVersionRow]) -> dict[str, CriterionRow]:
    """By id."""
    found = await session.scalars(select(CriterionRow).where(CriterionRow.id.in_({row.criterion_id for row in rows})))
    return {row.id: row for row in found}


async def archive(session: AsyncSession, row: JudgeRow) -> None:
    """It judges nothing any more; what it has said stays."""
    row.archived_at, row.watch = now(), None
    await session.flush()


async def _flush(session: AsyncSession, name: str) -> None:
    try:
        await session.flush()
    except IntegrityError:
        raise Conflict(f"There is a judge '{name}' already; update it instead, or take another name.") from None
