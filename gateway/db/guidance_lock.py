"""No report of guidance is begun while exchanges of its project are erased: of what is there when an erasure begins, it empties
every report, and a row that came meanwhile could be filled with what is about to go."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession


async def hold_while_erasing(session: AsyncSession, project_id: str) -> None:
    """Until the end of the transaction. Others may erase at the same time."""
    key = {"key": _key(project_id)}
    await session.execute(text("SELECT pg_advisory_xact_lock_shared(hashtext(:key))"), key)


async def hold_while_adding(session: AsyncSession, project_id: str) -> None:
    """Until the end of the transaction, which is short; whoever erases now has ended before."""
    await session.execute(text("SELECT pg_advisory_xact_lock(hashtext(:key))"), {"key": _key(project_id)})


def _key(project_id: str) -> str:
    return f"{project_id}:guidance_reports"
