"""Which rows of the ledger count in which windows: the one place that says so in SQL."""

_COVERED = """
    SELECT b.id, b.period, b.created_at AS since, r.holder, r.created_at, r.cost_nano
    FROM {rows} r JOIN budgets b ON {on} WHERE b.scope = '{scope}' AND b.deleted_at IS NULL AND r.cost_nano > 0"""
_SCOPES = {
    "organization": "true",
    "project": "b.project_id = r.project_id",
    "api_key": "b.api_key_id = r.api_key_id",
}


def costs_of(rows: str) -> str:
    """A query: budget_id, starts_at, holder, cost_nano of every window that was made and that `rows` count in, sorted.

    Args:
        rows: a table with the columns of the ledger.
    """
    covered = "\n    UNION ALL".join(_COVERED.format(rows=rows, on=on, scope=scope) for scope, on in _SCOPES.items())
    return f"""
WITH covered AS ({covered}
)
SELECT w.budget_id, w.starts_at, c.holder, sum(c.cost_nano)::bigint AS cost_nano
FROM covered c JOIN budget_windows w ON w.budget_id = c.id AND w.starts_at =
     CASE c.period WHEN 'total' THEN c.since ELSE date_trunc(c.period, c.created_at, 'UTC') END
WHERE c.period <> 'total' OR c.created_at >= c.since
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""  # noqa: S608 names of this package
