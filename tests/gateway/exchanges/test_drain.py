"""From the spool into the database: once, in order, and nothing is ever dropped."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.db.database import Database
from gateway.db.tables import ExchangeRow
from gateway.errors import Unavailable
from gateway.exchanges import drain as drain_module
from gateway.exchanges import record
from gateway.exchanges.drain import REJECTED, Drain
from gateway.exchanges.spool import Spool
from gateway.kit.clock import from_unix
from tests.gateway.exchanges.records import PLAIN, encoded
from tests.gateway.logged import stored

pytestmark = pytest.mark.anyio


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", segment_bytes=1500)


@pytest.fixture
async def drain(spool: Spool, database: Database) -> AsyncIterator[Drain]:
    yield Drain(spool, database)
    spool.close()


async def ids(database: Database) -> list[str]:
    return [row.id for row in await stored(database)]


def rejected(tmp_path: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((tmp_path / REJECTED).glob("*"))]


class TestDrain:
    async def test_stores_every_column(self, drain: Drain, spool: Spool, database: Database) -> None:
        error = b'{"message": "m"}'
        spool.append(encoded("req_1", error=error, first_token_ms=1.5, outcome="failed"))
        await drain.drain()
        (row,) = await stored(database)
        shown = {name: getattr(row, name) for name in ExchangeRow.__table__.columns.keys()}  # noqa: SIM118
        expected = {name: getattr(PLAIN, name) for name in record.Record.__struct_fields__}
        assert shown == expected | {
            "created_at": from_unix(PLAIN.created_at),
            "error": json.loads(error),
            "first_token_ms": 1.5,
            "outcome": "failed",
        }

    async def test_twice_stores_once(self, drain: Drain, spool: Spool, database: Database) -> None:
        spool.append(encoded("req_1"))
        spool.append(encoded("req_1", served_model="changed"))
        await drain.drain()
        spool.segments[0].offset = 0  # as if the process had died before it noted how far it was
        await drain.drain()
        (row,) = await stored(database)
        assert row.served_model == "m"

    async def test_removes_segments_that_are_full(self, drain: Drain, spool: Spool, database: Database) -> None:
        for number in range(30):
            spool.append(encoded(f"req_{number:02}"))
        assert len(spool.segments) > 2
        await drain.drain()
        assert await ids(database) == [f"req_{number:02}" for number in range(30)]
        assert [segment.path.name for segment in spool.segments] == [
            path.name for path in spool.directory.glob("*.seg")
        ]
        assert (len(spool.segments), spool.size) == (1, 0)

    async def test_goes_in_batches(
        self, drain: Drain, spool: Spool, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(drain_module, "BATCH_RECORDS", 4)
        for number in range(10):
            spool.append(encoded(f"req_{number}"))
        await drain.drain()
        assert len(await ids(database)) == 10

    async def test_what_comes_meanwhile_waits_for_the_next(
        self, drain: Drain, spool: Spool, database: Database
    ) -> None:
        async def append_on() -> None:
            for number in range(50):
                spool.append(encoded(f"req_{number:02}"))
                await asyncio.sleep(0)

        await asyncio.gather(append_on(), drain.drain())
        await drain.drain()
        assert len(await ids(database)) == 50


class TestStreams:
    async def test_are_stored_as_one_body(self, drain: Drain, spool: Spool, database: Database) -> None:
        chunk = {"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "x"}}]}
        events = b"\n\n".join([b"data: " + json.dumps(chunk).encode()] * 2)
        spool.append(encoded("req_1", streamed=True, reply=events))
        spool.append(encoded("req_2", streamed=True, reply=None))
        await drain.drain()
        first, second = await stored(database)
        assert json.loads(first.reply or b"")["choices"][0]["message"]["content"] == "xx"
        assert second.reply is None


class TestPoison:
    @pytest.mark.parametrize(
        "poison",
        [
            encoded("req_poison", cost_nano=2**64 - 1),
            encoded("req_poison", created_at=1e300),
            encoded("req_poison", status="no number"),
            encoded("req_poison", error=b"\xff"),
            encoded("req_poison", error=b"{not json"),
            b"\x00",
            b"",
            b"\xc1nonsense",
        ],
        ids=["too large", "no date", "wrong type", "not utf-8", "not json", "no record", "empty", "nonsense"],
    )
    async def test_is_kept_aside_and_holds_up_nobody(
        self, poison: bytes, drain: Drain, spool: Spool, database: Database, tmp_path: Path
    ) -> None:
        spool.append(encoded("req_1"))
        spool.append(poison)
        spool.append(encoded("req_2"))
        await drain.drain()
        assert await ids(database) == ["req_1", "req_2"]
        assert rejected(tmp_path) == [poison]
        assert spool.size == 0
        spool.append(encoded("req_3"))
        await drain.drain()
        assert await ids(database) == ["req_1", "req_2", "req_3"]

    async def test_the_character_nul_is_no_poison(self, drain: Drain, spool: Spool, database: Database) -> None:
        spool.append(
            encoded(
                "req_1",
                requested_model="a\0b",
                reply_id="\0",
                request=b"\0\xff",
                reply=b"\0\xff",
                request_metadata={"k\0": "v\0"},
                error=b'{"message": "\\u0000"}',
            )
        )
        await drain.drain()
        (row,) = await stored(database)
        assert (row.requested_model, row.reply_id) == ("a\ufffdb", "\ufffd")
        assert (row.request, row.reply) == (b"\0\xff", b"\0\xff")
        assert (row.request_metadata, row.error) == ({"k\ufffd": "v\ufffd"}, {"message": "\ufffd"})

    async def test_a_backslash_before_u0000_is_no_nul(self, drain: Drain, spool: Spool, database: Database) -> None:
        metadata = {"one": "C:\\u0000", "two": "C:\\\\u0000", "nul": "C:\\\0"}
        spool.append(encoded("req_1", requested_model="\\u0000", request_metadata=metadata))
        await drain.drain()
        (row,) = await stored(database)
        assert row.requested_model == "\\u0000"
        assert row.request_metadata == metadata | {"nul": "C:\\\ufffd"}


class TestDatabaseAway:
    async def test_keeps_everything_until_it_is_back(
        self, drain: Drain, spool: Spool, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spool.append(encoded("req_1"))
        away = Database("postgresql+asyncpg://postgres@127.0.0.1:1/nothing", pool_size=1, timeout=5)
        with monkeypatch.context() as patch:
            patch.setattr(drain, "_database", away)
            for _ in range(2):
                with pytest.raises(Unavailable):
                    await drain.drain()
                spool.append(encoded("req_2"))
        assert spool.size > 0
        await drain.drain()
        assert (await ids(database), spool.size) == (["req_1", "req_2"], 0)
        await away.close()


class TestAdoptOrphans:
    async def test_takes_over_what_a_dead_process_left(
        self, drain: Drain, spool: Spool, database: Database, tmp_path: Path
    ) -> None:
        dead = Spool(tmp_path / "spool", segment_bytes=1000)
        for number in range(10):
            dead.append(encoded(f"req_{number}"))
        dead.close()
        assert await drain.adopt_orphans() == 10
        assert len(await ids(database)) == 10
        assert list((tmp_path / "spool").iterdir()) == [spool.directory]
        assert await drain.adopt_orphans() == 0

    async def test_keeps_a_torn_end_aside(self, drain: Drain, spool: Spool, database: Database, tmp_path: Path) -> None:
        dead = Spool(tmp_path / "spool", segment_bytes=10_000)
        dead.append(encoded("req_1"))
        path = dead.segments[0].path
        dead.close()
        path.write_bytes(path.read_bytes() + b"torn")
        assert await drain.adopt_orphans() == 1
        assert await ids(database) == ["req_1"]
        assert [piece[-4:] for piece in rejected(tmp_path)] == [b"torn"]
        assert list((tmp_path / "spool").iterdir()) == [spool.directory]

    async def test_stays_while_the_database_is_away(
        self, drain: Drain, spool: Spool, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        dead = Spool(tmp_path / "spool", segment_bytes=10_000)
        dead.append(encoded("req_1"))
        dead.close()
        away = Database("postgresql+asyncpg://postgres@127.0.0.1:1/nothing", pool_size=1, timeout=5)
        with monkeypatch.context() as patch:
            patch.setattr(drain, "_database", away)
            with pytest.raises(Unavailable):
                await drain.adopt_orphans()
        assert await drain.adopt_orphans() == 1
        await away.close()

    async def test_two_at_once_store_each_once(self, drain: Drain, database: Database, tmp_path: Path) -> None:
        dead = Spool(tmp_path / "spool", segment_bytes=1000)
        for number in range(10):
            dead.append(encoded(f"req_{number}"))
        dead.close()
        other_spool = Spool(tmp_path / "spool", segment_bytes=1000)
        other = Drain(other_spool, database)
        assert sum(await asyncio.gather(drain.adopt_orphans(), other.adopt_orphans())) == 10
        assert len(await ids(database)) == 10
        other_spool.close()
