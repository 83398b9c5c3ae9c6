"""What a holder of long work still has of what was set aside for it."""

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

LEAST = """
SELECT min(greatest(l.granted_nano - l.spent_nano, 0))::bigint
FROM budget_leases l JOIN budgets b ON b.id = l.budget_id AND b.deleted_at IS NULL AND b.hard
WHERE l.holder = :holder AND l.starts_at =
      CASE b.period WHEN 'total' THEN b.created_at ELSE date_trunc(b.period, CAST(:moment AS timestamptz), 'UTC') END
"""


async def held(session: AsyncSession, holder: str, moment: datetime) -> int | None:
    """Nano-dollars that `holder` may still spend of every hard budget in which something was set aside for it, in the
    windows of `moment`. None: there is no such budget."""
    return await session.scalar(text(LEAST), {"holder": holder, "moment": moment})
