"""SQL of rate limits."""

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.changes import touch
from gateway.db.tables import RateLimitRow
from gateway.kit.clock import now
from gateway.kit.ids import new_id
from gateway.limits.book import MIRROR


async def ensure(session: AsyncSession, project_id: str, api_key_id: str | None, model: str | None) -> RateLimitRow:
    """The row of one place, made if there is none. Who comes at the same time waits (`touch` locks)."""
    await touch(session, MIRROR)
    row = await session.scalar(_of(project_id, api_key_id, model))
    if row is None:
        row = RateLimitRow(
            id=new_id("rl_"), created_at=now(), project_id=project_id, api_key_id=api_key_id, model=model
        )
        session.add(row)
    return row


async def find(
    session: AsyncSession, project_id: str, api_key_id: str | None, model: str | None
) -> RateLimitRow | None:
    return await session.scalar(_of(project_id, api_key_id, model))


async def all_of(session: AsyncSession, project_id: str, api_key_id: str | None) -> dict[str | None, RateLimitRow]:
    """Model, or None for all together -> its row."""
    query = select(RateLimitRow).where(
        RateLimitRow.project_id == project_id, RateLimitRow.api_key_id.is_not_distinct_from(api_key_id)
    )
    return {row.model: row for row in await session.scalars(query)}


async def delete(session: AsyncSession, row: RateLimitRow) -> None:
    await session.delete(row)
    await touch(session, MIRROR)


def _of(project_id: str, api_key_id: str | None, model: str | None) -> Select[RateLimitRow]:
    return select(RateLimitRow).where(
        RateLimitRow.project_id == project_id,
        RateLimitRow.api_key_id.is_not_distinct_from(api_key_id),
        RateLimitRow.model.is_not_distinct_from(model),
    )
