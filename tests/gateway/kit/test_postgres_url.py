"""Where the database is, as SQLAlchemy would read it."""

from typing import Any

import pytest
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.engine import make_url

from gateway.kit.postgres_url import connect_arguments

BEGINNING = "postgresql+asyncpg://"
URLS = [
    "postgres@127.0.0.1:5432/tuneway",
    "user:pa%40ss%2Fword@db.example.com/tuneway",
    "user:with/slash:and:colons@db:6543/x",
    "db",
    "/tuneway",
    "user@/tuneway",
    "user@[::1]:5433/tuneway?ssl=require",
    "postgres@/tuneway?host=/var/run/postgresql",
    "u:p@/x?host=/tmp/one%20socket&port=5434",
    "u:p@/x?host=one:5432&host=other:5433",
    "u@/x?host=one.example.com:5555",
    "u@db/x?prepared_statement_cache_size=0&application_name=tuneway",
]


def as_sqlalchemy(url: str) -> dict[str, Any]:
    _, found = PGDialect_asyncpg().create_connect_args(make_url(url))
    return found


@pytest.mark.parametrize("rest", URLS)
def test_is_read_as_sqlalchemy_reads_it(rest: str) -> None:
    assert connect_arguments(BEGINNING + rest) == as_sqlalchemy(BEGINNING + rest)


def test_of_several_servers_with_ports_of_their_own_or_the_usual_one() -> None:
    assert connect_arguments(BEGINNING + "u@/x?host=one,other&port=1,2") == as_sqlalchemy(
        BEGINNING + "u@/x?host=one:1&host=other:2"
    )
    assert connect_arguments(BEGINNING + "u@/x?host=one,other")["host"] == ["one", "other"]


def test_numbers_for_asyncpg_are_numbers() -> None:
    assert connect_arguments(BEGINNING + "u@db/x?statement_cache_size=0")["statement_cache_size"] == 0


def test_as_other_programs_write_it() -> None:
    for scheme in ("postgresql", "postgres"):
        assert connect_arguments(f"{scheme}://u@db/x") == connect_arguments(BEGINNING + "u@db/x")


@pytest.mark.parametrize(
    "url", ["", "db", "mysql://u:secret@db/x", "postgresql+psycopg://u:secret@db/x", "postgresql:/x"]
)
def test_another_url_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ValueError, match="postgresql\\+asyncpg://user") as refused:
        connect_arguments(url)
    assert "secret" not in str(refused.value)


def test_ports_that_do_not_belong_to_the_hosts_are_refused() -> None:
    for query in ("host=a,b,c&port=1,2", "host=a&port=x"):
        with pytest.raises(ValueError, match="as many ports"):
            connect_arguments(f"{BEGINNING}u@/x?{query}")
