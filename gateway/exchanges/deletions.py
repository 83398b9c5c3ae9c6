"""What was deleted before it came to the log (gateway/exchanges/erasure.py announces it)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from gateway.exchanges.record import Record
from gateway.kit.clock import from_unix

LOCK = 0x_45_52_41_53_45
"""Of an advisory lock: drains share it, and an announcement waits until they have written what they had read."""
USER = "user_"
"""Before the hash of an end user: the key of a deletion of all that is theirs, of whatever was called until then."""


async def deleted(connection: Any, records: Sequence[Record]) -> list[str]:
    """Ids of those that were deleted before they came to the log. Args: connection: asyncpg's, in a transaction."""
    await connection.execute("SELECT pg_advisory_xact_lock_shared($1)", LOCK)
    keys = {each.id for each in records} | {USER + each.end_user for each in records if each.end_user}
    wanted = "SELECT exchange_id, project_id, deleted_at FROM exchange_deletions WHERE exchange_id = ANY($1)"
    said = {each["exchange_id"]: each for each in await connection.fetch(wanted, list(keys))}
    return [each.id for each in records if said and _is_deleted(each, said)]


def _is_deleted(each: Record, said: dict[str, Any]) -> bool:
    own, of_user = said.get(each.id), said.get(USER + (each.end_user or ""))
    if own is not None and own["project_id"] == each.project_id:
        return True
    return of_user is not None and _began(each) <= of_user["deleted_at"]


def _began(each: Record) -> datetime:
    return from_unix(each.created_at)
