"""How much judges have to do, in the whole installation: for the metrics of every gateway process."""

from typing import Any

from gateway.kit.clock import now

WAITING = "SELECT count(*), min(created_at) FROM judging_tasks WHERE done_at IS NULL"


async def waiting_tasks(connection: Any) -> tuple[int, float]:
    """How many wait, and seconds that the oldest has been waiting. Args: connection: asyncpg's."""
    count, oldest = await connection.fetchrow(WAITING)
    return count, max(0.0, (now() - oldest).total_seconds()) if oldest else 0.0
