"""Alembic's entry: called by gateway.db.migrate with an open connection."""

from functools import cache
from typing import Any

from alembic import context
from sqlalchemy import text

from gateway.db import tables  # noqa: F401 fills the metadata
from gateway.db.base import Base


@cache
def parts() -> set[str]:
    """Of tables: they are no tables of their own, and which months there are is nothing that the schema says."""
    found = context.get_bind().execute(text("SELECT relname::text FROM pg_class WHERE relispartition"))
    return set(found.scalars())


def is_whole(name: str | None, kind: str, parents: Any) -> bool:
    return kind != "table" or name not in parts()


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    compare_type=True,
    include_name=is_whole,
)
with context.begin_transaction():
    context.run_migrations()
