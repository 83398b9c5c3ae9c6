"""A connection without SQLAlchemy: where there is none, no value is at fault."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text

from gateway.db.connection import Connection
from gateway.db.database import Database
from gateway.errors import Unavailable
from gateway.exchanges.bodies import Transactions
from gateway.exchanges.drain import REJECTED, Drain
from gateway.exchanges.spool import Spool
from gateway.settings import Settings
from tests.gateway.exchanges.records import encoded
from tests.gateway.upstreams.http.certificates import certificate, server_context
from tests.polling import until

pytestmark = pytest.mark.anyio

SSL_REQUEST_BYTES = 8


@pytest.fixture
async def ended(tmp_path: Path) -> AsyncIterator[dict[str, Any]]:
    """Arguments for a server whose certificate has ended."""
    path = certificate(tmp_path / "ended.pem", "127.0.0.1", days=-1)
    context = server_context(path)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(SSL_REQUEST_BYTES)
        writer.write(b"S")
        try:
            await writer.start_tls(context)
        except (OSError, ConnectionError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield {
            "host": "127.0.0.1",
            "port": server.sockets[0].getsockname()[1],
            "user": "u",
            "database": "d",
            "ssl": ssl.create_default_context(cafile=str(path)),
        }


async def assert_kept(database: Transactions, root: Path) -> None:
    """What has to be drained stays in the spool."""

    async def post(connection: Any, rows: Any) -> None: ...

    spool = Spool(root / "spool", segment_bytes=10_000)
    spool.append(encoded("req_1"))
    with pytest.raises(Unavailable, match="cannot be reached"):
        await Drain(spool, database, post=post).drain()
    assert spool.size
    assert not (root / REJECTED).exists()
    spool.close()


class TestCertificates:
    async def test_one_that_has_ended_rejects_no_exchange(self, ended: dict[str, Any], tmp_path: Path) -> None:
        await assert_kept(Connection(ended, 5), tmp_path)

    async def test_one_that_cannot_be_read_rejects_no_exchange(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("PGSSLROOTCERT", raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))  # where it would be
        away = Database("postgresql+asyncpg://u@127.0.0.1:1/d?ssl=verify-full", pool_size=1, timeout=5)
        await assert_kept(away, tmp_path)
        await assert_kept(Connection(away.arguments, 5), tmp_path)
        with pytest.raises(Unavailable, match="cannot be reached"):
            await away.ping()
        await away.close()


class TestFetch:
    async def test_rows(self, database: Database) -> None:
        assert [tuple(row) for row in await database.fetch("SELECT 1, 'a'")] == [(1, "a")]

    async def test_many_at_once_take_turns(self, database: Database) -> None:
        found = await asyncio.gather(*(database.fetch(f"SELECT {number}") for number in range(10)))
        assert [rows[0][0] for rows in found] == list(range(10))

    async def test_a_connection_that_was_lost_is_made_anew(self, database: Database) -> None:
        ((process,),) = await database.fetch("SELECT pg_backend_pid()")
        async with database.session() as session:
            await session.execute(text(f"SELECT pg_terminate_backend({process})"))
        ((other,),) = await database.fetch("SELECT pg_backend_pid()")
        assert other != process

    async def test_a_table_that_has_changed_meanwhile(self, database: Database) -> None:
        """An upgrade, while a gateway of the release before still asks."""
        await database.fetch("SELECT * FROM changes")
        try:
            async with database.session() as session:
                await session.execute(text("ALTER TABLE changes ADD COLUMN newer boolean"))
            assert await database.fetch("SELECT * FROM changes") == []
        finally:
            async with database.session() as session:
                await session.execute(text("ALTER TABLE changes DROP COLUMN newer"))

    async def test_what_the_server_refuses_is_no_absence(self, database: Database) -> None:
        with pytest.raises(asyncpg.UndefinedTableError):
            await database.fetch("SELECT * FROM nothing")

    async def test_no_server(self) -> None:
        away = Database("postgresql+asyncpg://u@127.0.0.1:1/d", pool_size=1, timeout=5)
        with pytest.raises(Unavailable, match="cannot be reached"):
            await away.fetch("SELECT 1")
        await away.close()

    async def test_closed_with_the_database(self, database: Database, settings: Settings) -> None:
        other = Database(settings.database.url, pool_size=1, timeout=5)
        ((process,),) = await other.fetch("SELECT pg_backend_pid()")
        await other.close()

        async def gone() -> bool:
            return not await database.fetch(f"SELECT 1 FROM pg_stat_activity WHERE pid = {process}")

        await until(gone)
