"""What each model of a project answered in the last days, and what it cost: whole sums of the ledger, by its rollup of days."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import case, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import ProjectDayRow

CALL = "call"


class Used(NamedTuple):
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nano: int = 0
    unpriced: int = 0
    """Requests that met no price."""


async def use_by_model(session: AsyncSession, project_id: str, since: datetime) -> dict[str, Used]:
    """Model -> what it was used for. Args: since: a midnight (UTC)."""
    rows = ProjectDayRow
    unpriced = case((rows.priced, 0), else_=rows.requests)
    sums = [rows.requests, rows.input_tokens, rows.output_tokens, rows.cost_nano, unpriced]
    query = select(rows.model, *(func.sum(each) for each in sums)).group_by(rows.model)
    of_project = query.where(rows.day >= since, rows.project_id == project_id, rows.kind == CALL)
    return {model: Used(*map(int, found)) for model, *found in await session.execute(of_project)}
