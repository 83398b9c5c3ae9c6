"""A gateway process that holds leases of budgets says so, and again and again that it runs (gateway/budgets/holders.py reads it)."""

from datetime import timedelta
from typing import Any

BEAT_SECONDS = 15.0
MISSED = timedelta(seconds=60)
"""After such a silence a process begins anew to say that it runs."""
REGISTER = """
INSERT INTO budget_holders (id, host, created_at, since, seen_at) VALUES ($1, $2, now(), now(), now())
ON CONFLICT (id) DO NOTHING
"""
BEAT = """
UPDATE budget_holders SET since = CASE WHEN seen_at < now() - $2::interval THEN now() ELSE since END, seen_at = now()
WHERE id = $1 RETURNING true
"""


async def register(connection: Any, holder: str, host: str) -> None:
    """In the transaction of a first lease: nobody holds anything who was never heard of."""
    await connection.execute(REGISTER, holder, host)


async def beat(connection: Any, holder: str) -> bool:
    """Say that a process runs. False: it never leased anything, or it was released."""
    return bool(await connection.fetchval(BEAT, holder, MISSED))
