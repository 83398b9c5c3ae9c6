"""The same as gone.py, in a session."""

from sqlalchemy.ext.asyncio import AsyncSession

from gateway.budgets.gone import fold_leases
from gateway.db.driver import driver_of


async def end_leases(session: AsyncSession, holder: str) -> None:
    """Fold a holder's leases into those of all that are gone. More than once is once."""
    await fold_leases(await driver_of(session), holder)
