"""A connection without SQLAlchemy: where there is none, no value is at fault."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.db.connection import Connection
from gateway.db.database import Database
from gateway.errors import Unavailable
from gateway.exchanges.bodies import Transactions
from gateway.exchanges.drain import REJECTED, Drain
from gateway.exchanges.spool import Spool
from tests.gateway.exchanges.records import encoded
from tests.gateway.upstreams.http.certificates import certificate, server_context

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
