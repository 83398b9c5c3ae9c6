"""A hard budget refuses before its last cents are spent, so its 100% is told once it refuses, not once it is reached."""

from typing import Any

from gateway.budgets.account import Account

LAST_SHARE = 50
"""With more than this part of the limit left, a call that is refused asked for much: the budget is not used up."""
TELL = """
INSERT INTO budget_events (id, created_at, budget_id, starts_at, threshold, limit_nano, spent_nano)
SELECT 'budevt_' || md5(concat_ws('/', b.id, w.starts_at, 100, b.limit_nano)), now(), b.id, w.starts_at, 100, b.limit_nano,
       w.spent_nano
FROM budget_windows w JOIN budgets b ON b.id = w.budget_id
WHERE w.budget_id = $1 AND w.starts_at = $2 AND b.hard AND b.deleted_at IS NULL AND b.thresholds @> '100'
ON CONFLICT (budget_id, starts_at, threshold, limit_nano) DO NOTHING
"""
"""As a charge tells of a threshold (gateway/budgets/charges.py); whoever comes second tells nothing."""


def is_used_up(limit: int, spent: int) -> bool:
    return (limit - spent) * LAST_SHARE <= limit


async def tell(connection: Any, account: Account) -> None:
    """Args:
    connection: asyncpg's, inside a transaction.
    """
    await connection.execute(TELL, account.budget.id, account.window.starts_at)
