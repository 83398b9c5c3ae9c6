"""What was deleted before it came to the log (gateway/exchanges/erasure.py announces it)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from gateway.exchanges.record import Record
from gateway.kit.clock import from_unix

LOCK = 0x_45_52_41_53_45
"""Of an advisory lock: drains share it, and an announcement waits until they have written what they had read."""
BETWEEN = "\x1f"
WANTED = f"""
SELECT exchange_id, project_id, deleted_at FROM exchange_deletions WHERE exchange_id = ANY(string_to_array($1, '{BETWEEN}'))
"""  # noqa: S608 names of this module
"""One text is a tenth of what an array of them costs the driver."""
USER = "user_"
"""Before the hash of an end user: the key of a deletion of all that is theirs, of whatever was called until then."""


async def deleted(connection: Any, records: Sequence[Record]) -> list[str]:
    """Ids of those that were deleted before they came to the log. Args: connection: asyncpg's, in a transaction."""
    await connection.execute("SELECT pg_advisory_xact_lock_shared($1)", LOCK)
    users = {each.end_user for each in records if each.end_user}
    keys = [*(each.id for each in records), *(USER + user for user in users)]
    said = {each["exchange_id"]: each for each in await connection.fetch(WANTED, BETWEEN.join(keys))}
    return [each.id for each in records if said and _is_deleted(each, said)]


def _is_deleted(each: Record, said: dict[str, Any]) -> bool:
    own, of_user = said.get(each.id), said.get(USER + (each.end_user or ""))
    if own is not None and own["project_id"] == each.project_id:
        return True
    return of_user is not None and _began(each) <= of_user["deleted_at"]


def _began(each: Record) -> datetime:
    return from_unix(each.created_at)
