"""What a holder of long work still has of what was set aside for it."""

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

LEAST = """
SELECT min(greatest(coalesce(l.granted_nano - l.spent_nano, 0), 0))::bigint
FROM budgets b LEFT JOIN budget_leases l ON l.budget_id = b.id AND l.holder = :holder AND l.starts_at =
     CASE b.period WHEN 'total' THEN b.created_at ELSE date_trunc(b.period, CAST(:moment AS timestamptz), 'UTC') END
WHERE b.deleted_at IS NULL AND b.hard AND (b.period <> 'total' OR b.created_at <= :moment)
  AND (b.scope = 'organization' OR b.scope = 'project' AND b.project_id = :project_id
       OR b.scope = 'api_key' AND b.api_key_id = :api_key_id)
"""


async def held(session: AsyncSession, project_id: str, api_key_id: str, holder: str, moment: datetime) -> int | None:
    """Nano-dollars that `holder` may still spend of every hard budget that covers the key, in the windows of `moment`.
    None: there is no such budget."""
    values = {"project_id": project_id, "api_key_id": api_key_id, "holder": holder, "moment": moment}
    return await session.scalar(text(LEAST), values)
