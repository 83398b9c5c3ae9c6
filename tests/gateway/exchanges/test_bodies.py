"""Large bodies of the log: into the file storage before the log, and out of it once nobody names them."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from gateway.db.blobs import LargeBodies
from gateway.db.database import Database
from gateway.db.large_bodies import fill
from gateway.db.tables import ExchangeBlobRow, ExchangeRow
from gateway.errors import Unavailable
from gateway.exchanges import bodies, deletions, erasure, left_bodies
from gateway.exchanges.drain import Drain
from gateway.exchanges.spool import Spool
from gateway.files.store import FileStore
from gateway.kit.clock import from_unix
from gateway.kit.packing import MovedBody
from gateway.metering.ledger import Ledger
from gateway.metering.rollups import post_rollups
from gateway.settings import FileSettings
from tests.gateway.exchanges.records import encoded

pytestmark = pytest.mark.anyio

LARGE = json.dumps({"text": os.urandom(1000).hex()}).encode()
"""1,000 bytes when it is compressed."""
SMALL = b'{"text": "' + b"zebra " * 1000 + b'"}'


class Storage(FileStore):
    """On this disk, and away when a test says so."""

    away = False

    async def put(self, key: str, pieces: Any, *, max_bytes: int) -> Any:
        if self.away:
            raise Unavailable("The file storage cannot be reached.")
        return await super().put(key, pieces, max_bytes=max_bytes)

    async def delete(self, *keys: str) -> None:
        if self.away:
            raise Unavailable("The file storage cannot be reached.")
        await super().delete(*keys)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(FileSettings(), tmp_path)


@pytest.fixture
def large(database: Database, storage: Storage) -> LargeBodies:
    database.large_bodies = LargeBodies(storage, 1000)
    return database.large_bodies


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", segment_bytes=1_000_000)


@pytest.fixture
async def drain(spool: Spool, database: Database, large: LargeBodies) -> AsyncIterator[Drain]:
    yield Drain(spool, database, post=Ledger([post_rollups]).post)
    spool.close()


def blobs(tmp_path: Path) -> list[str]:
    """Names of blobs, without what differs between attempts."""
    return sorted(path.name.rpartition(".")[0] for path in (tmp_path / "blobs").rglob("*") if path.is_file())


async def read(database: Database, id: str) -> tuple[bytes, bytes | None]:
    async with database.session() as session:
        row = await session.get_one(ExchangeRow, id)
        await fill(session, row)
    return row.request, row.reply


async def is_moved(database: Database, id: str) -> list[bool]:
    async with database.session() as session:
        row = await session.get_one(ExchangeRow, id)
    return [isinstance(body, MovedBody) for body in (row.request, row.reply)]


async def noted(database: Database) -> list[tuple[bool, bool]]:
    """Settled, doomed."""
    async with database.session() as session:
        rows = await session.scalars(select(ExchangeBlobRow).order_by(ExchangeBlobRow.created_at))
        return [(row.settled, row.doomed_at is not None) for row in rows]


async def erase(database: Database, id: str) -> None:
    async with database.session() as session:
        await erasure.announce(session, "proj_1", [id], "key_1")
    async with database.session() as session:
        await erasure.erase(session, "proj_1", [id], "key_1")


class TestMoved:
    async def test_what_is_large_when_compressed_and_nothing_else(
        self, drain: Drain, spool: Spool, database: Database, tmp_path: Path
    ) -> None:
        spool.append(encoded("req_1", request=LARGE, reply=SMALL))
        spool.append(encoded("req_2", request=SMALL, reply=LARGE))
        spool.append(encoded("req_3", reply=None))
        await drain.drain()
        assert blobs(tmp_path) == ["req_1.request", "req_2.reply"]
        assert (await is_moved(database, "req_1"), await is_moved(database, "req_2")) == ([True, False], [False, True])
        assert await read(database, "req_1") == (LARGE, SMALL)
        assert await read(database, "req_2") == (SMALL, LARGE)
        assert await read(database, "req_3") == (b'{"model": "m"}', None)
        assert await noted(database) == [(True, False), (True, False)]

    async def test_a_stream_as_the_body_that_it_came_to(self, drain: Drain, spool: Spool, database: Database) -> None:
        chunk = {"id": "c", "choices": [{"index": 0, "delta": {"content": os.urandom(1000).hex()}}]}
        spool.append(encoded("req_1", streamed=True, reply=b"data: " + json.dumps(chunk).encode() + b"\n\n"))
        await drain.drain()
        assert await is_moved(database, "req_1") == [False, True]
        _, reply = await read(database, "req_1")
        said = json.loads(reply or b"")["choices"][0]["message"]["content"]
        assert said == chunk["choices"][0]["delta"]["content"]  # type: ignore[index]

    async def test_nothing_where_it_is_switched_off(
        self, drain: Drain, spool: Spool, database: Database, large: LargeBodies, tmp_path: Path
    ) -> None:
        large.from_bytes = 0
        spool.append(encoded("req_1", request=LARGE))
        await drain.drain()
        assert (blobs(tmp_path), await read(database, "req_1")) == ([], (LARGE, b'{"id": "chatcmpl-1"}'))

    async def test_what_is_read_again_leaves_one_blob(
        self, drain: Drain, spool: Spool, database: Database, tmp_path: Path
    ) -> None:
        spool.append(encoded("req_1", request=LARGE))
        await drain.drain()
        spool.segments[0].offset = 0  # as if the process had died before it noted how far it was
        await drain.drain()
        assert blobs(tmp_path) == ["req_1.request"] * 2
        assert sorted(await noted(database)) == [(True, False), (True, True)]
        assert await left_bodies.remove_left(database) == 1
        assert blobs(tmp_path) == ["req_1.request"]
        assert (await read(database, "req_1"))[0] == LARGE


class TestStorageAway:
    async def test_the_log_goes_on_with_the_body_in_its_row(
        self,
        drain: Drain,
        spool: Spool,
        database: Database,
        storage: Storage,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        storage.away = True
        for number in range(6):
            spool.append(encoded(f"req_{number}", request=LARGE))
        await drain.drain()
        assert (await read(database, "req_5"))[0] == LARGE
        assert not any(await is_moved(database, "req_5"))
        assert 1 <= caplog.text.count("stay in the database while the file storage is away") <= bodies.AT_ONCE
        storage.away = False
        spool.append(encoded("req_6", request=LARGE))
        await drain.drain()
        assert not any(await is_moved(database, "req_6")), "it was asked again at once"
        assert await left_bodies.remove_left(database) == 6, "nothing is left of what was begun"

    async def test_nor_does_it_wait_for_one_that_is_broken(
        self, drain: Drain, spool: Spool, database: Database, storage: Storage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def put(key: str, pieces: Any, *, max_bytes: int) -> Any:
            raise ImportError("no storage")

        monkeypatch.setattr(storage, "put", put)
        spool.append(encoded("req_1", request=LARGE))
        await drain.drain()
        assert (await read(database, "req_1"))[0] == LARGE

    async def test_it_is_asked_again_after_a_while(
        self, drain: Drain, spool: Spool, database: Database, storage: Storage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bodies, "REST_SECONDS", 0)
        storage.away = True
        spool.append(encoded("req_1", request=LARGE))
        await drain.drain()
        storage.away = False
        spool.append(encoded("req_2", request=LARGE))
        await drain.drain()
        assert [await is_moved(database, id) for id in ("req_1", "req_2")] == [[False, False], [True, False]]

    async def test_one_that_does_not_end_is_given_up(
        self, drain: Drain, spool: Spool, database: Database, storage: Storage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def put(key: str, pieces: Any, *, max_bytes: int) -> Any:
            await asyncio.Event().wait()

        monkeypatch.setattr(storage, "put", put)
        monkeypatch.setattr(bodies, "PATIENCE_SECONDS", 0.01)
        spool.append(encoded("req_1", request=LARGE))
        await drain.drain()
        assert not any(await is_moved(database, "req_1"))
        assert (await read(database, "req_1"))[0] == LARGE

    async def test_what_is_to_be_removed_is_removed_later(
        self, drain: Drain, spool: Spool, database: Database, storage: Storage, tmp_path: Path
    ) -> None:
        spool.append(encoded("req_1", request=LARGE))
        await drain.drain()
        await erase(database, "req_1")
        storage.away = True
        with pytest.raises(Unavailable):
            await left_bodies.remove_left(database)
        storage.away = False
        assert await left_bodies.remove_left(database) == 1
        assert blobs(tmp_path) == []


class TestDied:
    """A process that ends between the blob and the log."""

    async def died(self, drain: Drain, monkeypatch: pytest.MonkeyPatch) -> None:
        async def dies(*_: Any) -> list[str]:
            raise Unavailable("The database cannot be reached right now.")

        with monkeypatch.context() as patched:
            patched.setattr(deletions, "deleted", dies)
            with pytest.raises(Unavailable):
                await drain.drain()

    async def test_what_it_wrote_is_found_and_the_next_attempt_has_its_own(
        self, drain: Drain, spool: Spool, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spool.append(encoded("req_1", request=LARGE))
        await self.died(drain, monkeypatch)
        assert (blobs(tmp_path), await noted(database)) == (["req_1.request"], [(False, False)])
        assert await left_bodies.remove_left(database) == 0, "whoever wrote it may still be about to name it"
        await drain.drain()
        assert await left_bodies.remove_left(database, unsettled_seconds=0) == 1
        assert blobs(tmp_path) == ["req_1.request"]
        assert (await read(database, "req_1"))[0] == LARGE

    async def test_what_was_erased_meanwhile_goes_with_it(
        self, drain: Drain, spool: Spool, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spool.append(encoded("req_1", request=LARGE))
        await self.died(drain, monkeypatch)
        await erase(database, "req_1")
        await drain.drain()
        assert await read(database, "req_1") == (b"", None)
        assert await left_bodies.remove_left(database) == 1
        assert await left_bodies.remove_left(database, unsettled_seconds=0) == 1
        assert blobs(tmp_path) == []


class TestLeft:
    async def test_of_what_left_the_log_and_of_nothing_else(
        self, drain: Drain, spool: Spool, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(left_bodies, "AT_A_TIME", 2)
        for number in range(5):
            spool.append(encoded(f"req_{number}", request=LARGE, reply=LARGE))
        await drain.drain()
        assert await left_bodies.doom_unnamed(database) == 0
        async with database.session() as session:
            await session.execute(delete(ExchangeRow).where(ExchangeRow.id == "req_1"))
            await session.execute(update(ExchangeRow).where(ExchangeRow.id == "req_3").values(request=b"", reply=None))
        assert await left_bodies.doom_unnamed(database) == 4
        assert await left_bodies.doom_unnamed(database) == 0
        while await left_bodies.remove_left(database):
            pass
        assert {name.partition(".")[0] for name in blobs(tmp_path)} == {"req_0", "req_2", "req_4"}
        for id in ("req_0", "req_2", "req_4"):
            assert await read(database, id) == (LARGE, LARGE)

    async def test_one_that_is_being_written_is_waited_for(
        self, drain: Drain, spool: Spool, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its exchange is erased before it is in the log: the blob may still be on its way."""
        async with database.session() as session:
            moment = from_unix(4e9)
            session.add(
                ExchangeBlobRow(key="k", exchange_id="req_1", created_at=moment, settled=False, doomed_at=moment)
            )
        assert await left_bodies.remove_left(database) == 0
