"""Columns of bodies of calls (gateway/kit/packing.py says in which forms)."""

from typing import Any

from sqlalchemy import BigInteger, ColumnElement, LargeBinary, literal_column
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from gateway.kit.packing import MARKS, MovedBody, unpack


class Body(TypeDecorator[bytes]):
    """A column of bodies. What is read of it is the body, or a MovedBody; written is what `pack` makes of one."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: bytes | None, dialect: Dialect) -> bytes | None:
        return value.stored if isinstance(value, MovedBody) else value

    def process_result_value(self, value: Any | None, dialect: Dialect) -> bytes | None:
        return unpack(value) if value is not None else None


def size_of(column: str) -> ColumnElement[int]:
    """Bytes of a body in the log, whatever its form. Args: column: "request" or "reply"; of a NULL it is NULL."""
    return literal_column(size_sql(f"exchanges.{column}"), BigInteger)


def size_sql(column: str) -> str:
    """The same for a statement in words: only the first bytes of a large value are read."""
    marks = ", ".join(f"decode('{mark.hex()}', 'hex')" for mark in MARKS)
    size = f"CAST(CAST('x' || encode(substring({column} FROM 5 FOR 4), 'hex') AS bit(32)) AS bigint)"
    return f"CASE WHEN substring({column} FROM 1 FOR 4) IN ({marks}) THEN {size} ELSE octet_length({column}) END"
