"""Leases of a window in PostgreSQL: what each holder may spend (docs/decisions/0012-leases-in-postgresql.md).

    committed = sum over holders of greatest(granted, spent) <= limit

Who wants more locks the window, reads what is committed, and takes of the rest. Who gives back only lowers its own row,
which needs no lock: whoever reads an old value sees too little free, never too much.
"""

from dataclasses import dataclass
from typing import Any

from gateway.budgets.account import Account

LOCK = """
SELECT b.limit_nano, w.wanted_at < now() - interval '0.2 seconds' OR w.wanted_at IS NULL AS may_want
FROM budget_windows w JOIN budgets b ON b.id = w.budget_id
WHERE w.budget_id = $1 AND w.starts_at = $2 FOR UPDATE OF w
"""
SUMS = """
SELECT coalesce(sum(greatest(granted_nano, spent_nano)) FILTER (WHERE holder <> $3), 0)::bigint AS committed,
       coalesce(sum(spent_nano) FILTER (WHERE holder <> $3), 0)::bigint AS spent,
       coalesce(sum(spent_nano) FILTER (WHERE holder = $3), 0)::bigint AS own
FROM budget_leases WHERE budget_id = $1 AND starts_at = $2
"""
"""A statement of its own: it begins when the window is locked, and sees whatever was waited for."""
WRITE = """
INSERT INTO budget_leases (budget_id, starts_at, holder, granted_nano, spent_nano) VALUES ($1, $2, $3, $4, 0)
ON CONFLICT (budget_id, starts_at, holder) DO UPDATE SET granted_nano = excluded.granted_nano
"""
LOWER = """
UPDATE budget_leases SET granted_nano = $4 WHERE budget_id = $1 AND starts_at = $2 AND holder = $3
"""
WANT = "UPDATE budget_windows SET wanted_at = now() WHERE budget_id = $1 AND starts_at = $2"
TOUCH = """
INSERT INTO changes (name, version) VALUES ($1, 1) ON CONFLICT (name) DO UPDATE SET version = changes.version + 1
"""
WANTS = "budget_wants"
"""Name of the mirror that tells every process which windows are short (gateway/budgets/wants.py)."""
SHARE_OF_FREE = 4
SHARE_OF_LIMIT = 50


@dataclass(frozen=True, slots=True)
class Wish:
    """What a lease is to reach: `most` to be reserved at once, `floor` of it at least. Nano-dollars."""

    most: int
    floor: int


@dataclass(frozen=True, slots=True)
class State:
    """A window as it was when it was locked."""

    limit: int
    spent: int
    """For certain: what the ledger has of others, and all that this process spent."""
    held: int
    """By others, and not known to be spent: it may come back."""


def extra(free: int, slack: int, limit: int, wish: Wish, *, exact: bool) -> int | None:
    """What to add to a lease; None when that would be too little to be of use, and what it has is better given back.

    More than is needed, so that a lease lasts for many calls; but never more than a share of what is left, because what
    one holder has and does not use another may lack.
    """
    slack = max(slack, 0)
    need = wish.most - slack
    wanted = need if exact else max(need, min(free // SHARE_OF_FREE, limit // SHARE_OF_LIMIT))
    added = max(0, min(wanted, free))
    return added if slack + added >= wish.floor else None


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of an attempt to get more."""

    state: State
    granted: int
    """What the database says once the transaction is committed."""
    added: int
    """By how much that is more than what memory says."""


async def extend(connection: Any, holder: str, account: Account, wish: Wish, *, exact: bool) -> Taken | None:
    """Take more of a window. None: the window was not made yet.

    Where too little is left, the lease is lowered to what is in use, and others are asked to do the same. In memory
    `granted` is only lowered here; the caller raises it after the commit.

    Args:
        connection: asyncpg's, inside a transaction.
        exact: take no more than is needed now.
    """
    place = account.budget.id, account.window.starts_at
    window = await connection.fetchrow(LOCK, *place)
    if window is None:
        return None
    sums = await connection.fetchrow(SUMS, *place, holder)
    account.adopt(sums["own"])
    own, limit = max(account.granted, account.used), window["limit_nano"]
    state = State(limit, sums["spent"] + account.spent, sums["committed"] - sums["spent"])
    more = extra(limit - sums["committed"] - own, account.slack, limit, wish, exact=exact)
    if more is None:
        account.drop_slack()
        own, more = account.used, 0
        if state.held and window["may_want"]:
            await connection.execute(WANT, *place)
            await connection.execute(TOUCH, WANTS)
    taken = Taken(state, own + more, own + more - account.granted)
    await connection.execute(WRITE, *place, holder, taken.granted)
    return taken


async def lower(connection: Any, holder: str, account: Account) -> int:
    """Write what the lease came down to (or, after an upstream sent too much, what was spent); return it."""
    granted = account.granted
    await connection.execute(LOWER, account.budget.id, account.window.starts_at, holder, granted)
    return granted
