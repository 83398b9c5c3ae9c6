"""monthly partitions

The log becomes a table of parts, by its ids, which sort by time. What is there becomes the first part as it is, without a
row being copied or an index being built: that all of it belongs there is proven while the log is written and read on, and
what needs the table for itself is a matter of names.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from alembic import op

revision: str = "0012"
down_revision: str | Sequence[str] | None = "0011"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

KEYS = {"exchanges": "id", "exchange_texts": "exchange_id"}
INDEXES = {
    "ix_exchanges_created_at": "exchanges (created_at)",
    "ix_exchanges_project_id_id": "exchanges (project_id, id)",
    "ix_exchanges_project_id_reply_id": "exchanges (project_id, reply_id) WHERE reply_id IS NOT NULL",
    "ix_exchanges_project_id_end_user": "exchanges (project_id, end_user) WHERE end_user IS NOT NULL",
    "ix_exchange_texts_words": "exchange_texts USING gin (words)",
}
SOON = timedelta(days=2)
"""Calls that end while this runs belong to the first part, too."""


def upgrade() -> None:
    end = _end_of_month(datetime.now(UTC) + SOON)
    with op.get_context().autocommit_block():  # each statement by itself: the proof reads all, and holds up nobody
        for table, key in KEYS.items():
            _prove(table, key, end)
    for table, key in KEYS.items():
        _make_parts(table, key, end)


def downgrade() -> None:
    """All rows are copied."""
    for table, key in KEYS.items():
        op.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        op.execute(f"ALTER TABLE {table} RENAME TO {table}_parts")
        _rename_indexes(table, "{name}_parts")
        op.execute(f"CREATE TABLE {table} (LIKE {table}_parts INCLUDING ALL EXCLUDING INDEXES)")
        op.execute(f"INSERT INTO {table} SELECT * FROM {table}_parts ORDER BY {key}")  # noqa: S608 names of this module
        op.execute(f"DROP TABLE {table}_parts")
        _make_indexes(table, key)


def _prove(table: str, key: str, end: str) -> None:
    op.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS earlier")  # of a migration that was ended in the middle
    beyond = f"SELECT EXISTS (SELECT 1 FROM {table} WHERE {key} >= '{end}')"  # noqa: S608
    if not op.get_bind().scalar(sa.text(beyond)):
        op.execute(f"ALTER TABLE {table} ADD CONSTRAINT earlier CHECK ({key} < '{end}') NOT VALID")
        op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT earlier")


def _make_parts(table: str, key: str, end: str) -> None:
    """Rows with ids of another time are few, if there are any: they move, and then there is no proof, and all are read."""
    op.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
    op.execute(f"ALTER TABLE {table} RENAME TO {table}_earlier")
    _rename_indexes(table, "{name}_earlier")
    op.execute(f"CREATE TABLE {table} (LIKE {table}_earlier INCLUDING ALL EXCLUDING INDEXES EXCLUDING CONSTRAINTS) "
               f"PARTITION BY RANGE ({key})")  # fmt: skip
    _make_indexes(table, key)
    op.execute(f"CREATE TABLE {table}_later PARTITION OF {table} FOR VALUES FROM ('{end}') TO (MAXVALUE)")
    op.execute(f"WITH beyond AS (DELETE FROM {table}_earlier WHERE {key} >= '{end}' RETURNING *) "  # noqa: S608
               f"INSERT INTO {table}_later SELECT * FROM beyond")  # fmt: skip
    op.execute(f"ALTER TABLE {table} ATTACH PARTITION {table}_earlier FOR VALUES FROM (MINVALUE) TO ('{end}')")
    op.execute(f"ALTER TABLE {table}_earlier DROP CONSTRAINT IF EXISTS earlier")


def _make_indexes(table: str, key: str) -> None:
    op.execute(f"ALTER TABLE {table} ADD CONSTRAINT pk_{table} PRIMARY KEY ({key})")
    for name, definition in INDEXES.items():
        if definition.startswith(f"{table} "):
            op.execute(f"CREATE INDEX {name} ON {definition}")


def _rename_indexes(table: str, to: str) -> None:
    for name in (f"pk_{table}", *(name for name, definition in INDEXES.items() if definition.startswith(f"{table} "))):
        op.execute(f"ALTER INDEX {name} RENAME TO {to.format(name=name)}")


def _end_of_month(moment: datetime) -> str:
    end = datetime(moment.year + moment.month // 12, moment.month % 12 + 1, 1, tzinfo=UTC)
    return f"req_{int(end.timestamp()) * 10**9:016x}"
