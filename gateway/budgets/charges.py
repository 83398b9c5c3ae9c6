"""What is written to the ledger is charged to budgets, in the same transaction."""

from bisect import bisect
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from gateway.budgets.coverage import costs_of

BEGUN = """
SELECT ARRAY(
    SELECT created_at FROM budgets WHERE period = 'total' AND deleted_at IS NULL AND created_at BETWEEN $1 AND $2 ORDER BY 1
) FROM (SELECT FROM budget_windows LIMIT 1) made
"""
"""Nothing where no window was made; none can be made before the posting ends (gateway/db/locks.py)."""
COSTS = costs_of("""(
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::bigint[])
        AS each (project_id, api_key_id, holder, created_at, cost_nano)
)""")
_CHARGED = """
WITH charged AS (
    SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::bigint[])
        AS c (budget_id, starts_at, holder, cost_nano)
)"""
LOCK = f"""{_CHARGED}
SELECT FROM budget_windows w WHERE (w.budget_id, w.starts_at) IN (SELECT budget_id, starts_at FROM charged)
ORDER BY w.budget_id, w.starts_at FOR UPDATE
"""  # noqa: S608 nothing but a name of this module
"""In a fixed order, and before anything is changed: two drains cannot wait for each other."""
SPEND = f"""{_CHARGED}
UPDATE budget_windows w SET spent_nano = w.spent_nano + s.cost_nano
FROM (SELECT budget_id, starts_at, sum(cost_nano) AS cost_nano FROM charged GROUP BY 1, 2) s
WHERE w.budget_id = s.budget_id AND w.starts_at = s.starts_at
"""  # noqa: S608
SPEND_LEASES = f"""{_CHARGED}
INSERT INTO budget_leases AS kept (budget_id, starts_at, holder, granted_nano, spent_nano)
SELECT budget_id, starts_at, holder, 0, cost_nano FROM charged
ON CONFLICT (budget_id, starts_at, holder) DO UPDATE SET spent_nano = kept.spent_nano + excluded.spent_nano
"""  # noqa: S608
TELL = """
INSERT INTO budget_events (id, created_at, budget_id, starts_at, threshold, limit_nano, spent_nano)
SELECT 'budevt_' || md5(concat_ws('/', b.id, w.starts_at, t.percent, b.limit_nano)), now(), b.id, w.starts_at,
       t.percent::bigint, b.limit_nano, w.spent_nano
FROM budget_windows w JOIN budgets b ON b.id = w.budget_id, jsonb_array_elements_text(b.thresholds) AS t (percent)
WHERE (w.budget_id, w.starts_at) IN (SELECT * FROM unnest({budgets}, {starts}))
  AND w.spent_nano::numeric * 100 >= t.percent::numeric * b.limit_nano
ORDER BY b.id, w.starts_at, t.percent::bigint
ON CONFLICT (budget_id, starts_at, threshold, limit_nano) DO NOTHING
"""
TELL_CHARGED = TELL.format(budgets="$1::text[]", starts="$2::timestamptz[]")


async def charge(connection: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """A posting of the ledger (gateway/metering/ledger.py): adds the new rows to the windows that they count in, to what
    their holders have spent of them, and tells of thresholds that were reached.

    A window that was not made yet gets them from the ledger, when it is made (gateway/budgets/opening.py).
    """
    paid = [row for row in rows if row["cost_nano"] > 0]
    if not paid:
        return
    moments = [row["created_at"] for row in paid]
    begun: list[datetime] | None = await connection.fetchval(BEGUN, min(moments), max(moments))
    if begun is None:
        return
    costs = await connection.fetch(COSTS, *map(list, zip(*_spent(paid, begun), strict=True)))
    if not costs:
        return
    budgets, starts = [each["budget_id"] for each in costs], [each["starts_at"] for each in costs]
    holders, amounts = [each["holder"] for each in costs], [each["cost_nano"] for each in costs]
    for statement in (LOCK, SPEND, SPEND_LEASES):
        await connection.execute(statement, budgets, starts, holders, amounts)
    await connection.execute(TELL_CHARGED, budgets, starts)


def _spent(rows: Sequence[Mapping[str, Any]], begun: Sequence[datetime]) -> list[tuple[Any, ...]]:
    """Project, key, holder, a moment and the costs of all that count in the same windows, whatever budgets there are: windows
    begin with an hour, or with their budget.

    Args:
        begun: when budgets were made that count from then on, and not all rows are on one side of it; sorted.
    """
    sums: dict[tuple[Any, ...], int] = defaultdict(int)
    moments: dict[tuple[Any, ...], datetime] = {}
    for row in rows:
        moment = row["created_at"]
        hour = moment.replace(minute=0, second=0, microsecond=0)
        key = (row["project_id"], row["api_key_id"], row["holder"], hour, bisect(begun, moment))
        sums[key] += row["cost_nano"]
        moments.setdefault(key, moment)
    return [(*key[:3], moments[key], cost) for key, cost in sums.items()]
