"""The same as gone.py, in a session."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.budgets.gone import STATEMENTS


async def end_leases(session: AsyncSession, holder: str) -> None:
    """Fold a holder's leases into those of all that are gone. More than once is once."""
    if not holder:
        return
    for statement in STATEMENTS:
        await session.execute(text(statement.replace("$1", ":holder")), {"holder": holder})
