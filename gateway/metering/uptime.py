"""Of which projects too many calls failed in a day: what a gateway can know of its uptime.

It is the share of calls that were answered without a failure of the gateway (5xx) or of a model that was asked. A gateway that
is not there counts nothing, so what nobody answered at all is not in it: ask `/health` from outside.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from math import ceil
from typing import NamedTuple

from sqlalchemy import ARRAY, String, bindparam, text
from sqlalchemy.ext.asyncio import AsyncSession

DAY = timedelta(hours=24)
QUERY = text("""
SELECT value AS project_id, sum(requests)::bigint AS requests, sum(server_errors + upstream_errors)::bigint AS failed,
       min(hour) FILTER (WHERE server_errors + upstream_errors > 0) AS since
FROM traffic_hours
WHERE project_id = ANY(:scopes) AND dimension = 'project_id' AND hour > :start AND hour <= :end
GROUP BY value
HAVING sum(requests) >= :fewest AND sum(server_errors + upstream_errors) > sum(requests) * CAST(:allowed AS float8)
ORDER BY 3 DESC, 1 LIMIT :most
""").bindparams(bindparam("scopes", type_=ARRAY(String)))


class Down(NamedTuple):
    project_id: str
    requests: int
    failed: int
    since: datetime
    """The first hour in which calls failed."""

    @property
    def uptime(self) -> float:
        return 1 - self.failed / self.requests


def fewest_calls(uptime: float) -> int:
    """So many calls are needed that a single one that failed is not too many: 1,000 for 99.9%."""
    return ceil(round(1 / (1 - uptime), 6))


async def below(
    session: AsyncSession, uptime: float, moment: datetime, project_ids: Sequence[str], *, min_calls: int, most: int
) -> list[Down]:
    """Those of the last 24 hours, the hour that is now among them, with the most failures first.

    Args:
        uptime: a share, less than 1.
        project_ids: none means all.
    """
    values = {
        "scopes": list(project_ids) or [""],
        "start": moment - DAY,
        "end": moment,
        "fewest": max(min_calls, fewest_calls(uptime)),
        "allowed": 1 - uptime,
        "most": most,
    }
    return [Down(*row) for row in await session.execute(QUERY, values)]
