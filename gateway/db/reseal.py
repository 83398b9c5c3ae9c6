"""A change of the encryption key: every secret in the database is sealed anew."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.changes import touch
from gateway.db.tables import UpstreamRow, UserRow, WebhookRow, WorkingKeyRow
from gateway.kit.sealing import CannotOpen, Place, Sealer


@dataclass(frozen=True)
class SealedTable:
    """A table with sealed columns; a value belongs to (table, `id`, column)."""

    row: Any
    columns: Sequence[str]
    noun: str
    name: str
    """The column that people know a row by."""
    mirror: str | None = None
    """What has the secrets in memory."""


TABLES = (
    SealedTable(
        UpstreamRow, ("encrypted_key", "encrypted_headers", "encrypted_proxy"), "upstream", "name", mirror="upstreams"
    ),
    SealedTable(WebhookRow, ("secret", "previous_secret"), "webhook", "name"),
    SealedTable(UserRow, ("totp_secret",), "user", "email"),
    SealedTable(WorkingKeyRow, ("secret",), "working key", "purpose"),
)


@dataclass
class Resealed:
    """What a change of keys did."""

    renewed: int = 0
    """Values that are sealed with the first key now."""
    current: int = 0
    """Values that were already."""
    broken: list[str] = field(default_factory=list[str])
    """What cannot be opened, and why: a sentence each."""


async def reseal(session: AsyncSession, sealer: Sealer) -> Resealed:
    """Seal every secret with the first key; what cannot be opened stays as it is.

    Rows are locked: who changes a secret meanwhile waits, and then writes over what was sealed here.
    """
    done = Resealed()
    for table in TABLES:
        rows = select(table.row).where(table.row.deleted_at.is_(None)).order_by(table.row.id).with_for_update()
        for row in await session.scalars(rows):
            for column in table.columns:
                _reseal(sealer, table, row, column, done)
        if table.mirror is not None:
            await touch(session, table.mirror)
    return done


def _reseal(sealer: Sealer, table: SealedTable, row: Any, column: str, done: Resealed) -> None:
    sealed: bytes | None = getattr(row, column)
    if sealed is None:
        return
    place = Place(table.row.__tablename__, row.id, column)
    try:
        secret = sealer.open(sealed, place)
    except CannotOpen as error:
        named = f"{table.noun} `{getattr(row, table.name) or row.id}` ({row.id})"
        done.broken.append(f"{column} of the {named} cannot be opened: {error}")
        return
    if sealer.is_current(sealed):
        done.current += 1
    else:
        setattr(row, column, sealer.seal(secret, place))
        done.renewed += 1
