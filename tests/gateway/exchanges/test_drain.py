"""From the spool into the database: once, in order, and nothing is ever dropped."""

import asyncio
import base64
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from gateway.db import copying
from gateway.db.database import Database
from gateway.db.tables import ExchangeRow, LedgerRow, StoredCompletionRow, TrafficHourRow
from gateway.errors import Unavailable
from gateway.exchanges import drain as drain_module
from gateway.exchanges import record
from gateway.exchanges.drain import REJECTED, Drain
from gateway.exchanges.rows import LONGEST_REPLY_ID
from gateway.exchanges.spool import Spool
from gateway.kit.clock import from_unix
from gateway.metering.ledger import Ledger
from gateway.metering.rollups import post_rollups
from gateway.metering.traffic_counts import post_traffic
from gateway.metering.traffic_rebuild import compare_traffic
from tests.gateway.exchanges.records import PLAIN, encoded
from tests.gateway.logged import days, hours, ledger, stored

pytestmark = pytest.mark.anyio

POST = Ledger([post_rollups]).post
COST = PLAIN.cost_nano or 0


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", segment_bytes=1500)


@pytest.fixture
async def drain(spool: Spool, database: Database) -> AsyncIterator[Drain]:
    yield Drain(spool, database, post=POST)
    spool.close()


async def ids(database: Database) -> list[str]:
    return [row.id for row in await stored(database)]


async def posted(database: Database) -> tuple[int, int]:
    """Rows of the ledger and what they cost; the rollups say the same."""
    rows = await ledger(database)
    cost = sum(row.cost_nano for row in rows)
    for sums in (await hours(database), await days(database)):
        assert (sum(each.requests for each in sums), sum(each.cost_nano for each in sums)) == (len(rows), cost)
    return len(rows), cost


def rejected(tmp_path: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((tmp_path / REJECTED).glob("*"))]


class TestDrain:
    async def test_stores_every_column(self, drain: Drain, spool: Spool, database: Database) -> None:
        error = b'{"message": "m"}'
        spool.append(encoded("req_1", error=error, first_token_ms=1.5, outcome="failed"))
        await drain.drain()
        (row,) = await stored(database)
        shown = {name: getattr(row, name) for name in ExchangeRow.__table__.columns.keys()}  # noqa: SIM118
        expected = {name: getattr(PLAIN, name) for name in record.Record.__struct_fields__ if name in shown}
        assert shown == expected | {
            "created_at": from_unix(PLAIN.created_at),
            "error": json.loads(error),
            "first_token_ms": 1.5,
            "outcome": "failed",
        }

    async def test_traffic_counts_each_once_however_often_it_is_read(self, spool: Spool, database: Database) -> None:
        drain = Drain(spool, database, post=POST, count=post_traffic)
        spool.append(encoded("req_1"))
        await drain.drain()
        spool.append(encoded("req_2", outcome="refused", status=429))
        spool.segments[0].offset = 0  # as if the process had died before it noted how far it was
        await drain.drain()
        spool.close()
        async with database.session() as session:
            row = await session.scalar(select(TrafficHourRow).filter_by(project_id="", dimension="total"))
            assert row is not None
            assert (row.requests, row.client_errors) == (2, 1)
        assert not any(each.different for each in await compare_traffic(database))

    async def test_goes_on_once_the_next_release_has_migrated(
        self, drain: Drain, spool: Spool, database: Database
    ) -> None:
        """Gateways are replaced one after the other, behind the migration: those that are left know no new column."""
        spool.append(encoded("req_1"))
        try:
            async with database.session() as session:
                for table in ("exchanges", "ledger"):
                    await session.execute(text(f"ALTER TABLE {table} ADD COLUMN newer boolean NOT NULL DEFAULT false"))
            await drain.drain()
            assert (await ids(database), await posted(database)) == (["req_1"], (1, COST))
        finally:
            async with database.session() as session:
                for table in ("exchanges", "ledger"):
                    await session.execute(text(f"ALTER TABLE {table} DROP COLUMN newer"))

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

    async def test_a_round_ends_though_calls_go_on(self, spool: Spool, database: Database) -> None:
        """Each batch would find the next one, smaller and smaller, and what a batch costs by itself is most of a small one."""
        posted_at_once: list[int] = []

        async def post(connection: Any, rows: Any) -> None:
            posted_at_once.append(len(rows))
            if len(posted_at_once) < 10:
                spool.append(encoded(f"req_late_{len(posted_at_once)}"))

        drain = Drain(spool, database, post=post)
        spool.append(encoded("req_1"))
        await drain.drain()
        assert posted_at_once == [1]
        await drain.drain()
        assert posted_at_once == [1, 1]
        spool.close()

    async def test_a_segment_that_is_full_meanwhile_is_read_to_its_end(
        self, spool: Spool, database: Database, tmp_path: Path
    ) -> None:
        """It is removed in the round behind: not before all that it has is stored."""

        late = [encoded(f"req_late_{number:02}") for number in range(30)]

        async def post(connection: Any, rows: Any) -> None:
            while late:
                spool.append(late.pop())

        drain = Drain(spool, database, post=post)
        spool.append(encoded("req_1"))
        for _ in range(3):
            await drain.drain()
        assert (len(await ids(database)), rejected(tmp_path), spool.size) == (31, [], 0)
        spool.close()


class TestPauses:
    """Between pieces of a batch, where nothing waits behind it (gateway/kit/pauses.py)."""

    @pytest.fixture
    def paused(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """How much each was, that was done with pauses."""
        found: list[int] = []

        async def noted(items: Any) -> AsyncIterator[Any]:
            found.append(len(items))
            for each in items:
                yield each

        for module in (drain_module, copying):
            monkeypatch.setattr(module, "with_pauses", noted)
        return found

    async def test_rows_are_made_and_copied_with_pauses(self, drain: Drain, spool: Spool, paused: list[int]) -> None:
        spool.append(encoded("req_1"))
        await drain.drain()
        assert paused == [1, 1]

    async def test_a_backlog_has_none(
        self, drain: Drain, spool: Spool, database: Database, paused: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(drain_module, "BATCH_RECORDS", 1)
        for number in range(10):
            spool.append(encoded(f"req_{number}"))
        assert len(spool.segments) > 1
        await drain.drain()
        assert len(await ids(database)) == 10
        assert len(paused) <= 2  # the newest batch alone


class TestLedger:
    async def test_holds_every_column(self, drain: Drain, spool: Spool, database: Database) -> None:
        parts = {"input_nano": 40_000, "cached_input_nano": 2_000, "output_nano": 39_999, "request_nano": 1}
        spool.append(encoded("req_1", user_id="user_1", **parts))
        await drain.drain()
        (row,) = await ledger(database)
        shown = {name: getattr(row, name) for name in LedgerRow.__table__.columns.keys()}  # noqa: SIM118
        assert shown == parts | {
            "id": "req_1",
            "created_at": from_unix(PLAIN.created_at),
            "kind": "call",
            "project_id": "proj_1",
            "api_key_id": "key_1",
            "user_id": "user_1",
            "holder": spool.directory.name,
            "model": "m",
            "endpoint": "/chat/completions",
            "batch": False,
            "priced": True,
            "input_tokens": 12,
            "cached_input_tokens": 4,
            "output_tokens": 4,
            "device_ms": 0,
            "cost_nano": 82_000,
        }

    async def test_its_parts_add_up_whatever_was_recorded(self, drain: Drain, spool: Spool, database: Database) -> None:
        spool.append(encoded("req_1"))
        spool.append(encoded("req_2", input_nano=40_000))
        await drain.drain()
        assert [(row.input_nano, row.request_nano) for row in await ledger(database)] == [(0, 82_000), (40_000, 42_000)]

    async def test_has_no_row_for_what_used_nothing(self, drain: Drain, spool: Spool, database: Database) -> None:
        spool.append(encoded("req_1", outcome="refused", input_tokens=None, output_tokens=None, cost_nano=None))
        spool.append(encoded("req_2", priced=False, cost_nano=None, served_model=None, output_tokens=None))
        await drain.drain()
        assert len(await ids(database)) == 2
        (row,) = await ledger(database)
        assert (row.id, row.priced, row.cost_nano, row.model, row.output_tokens) == ("req_2", False, 0, "", 0)

    async def test_a_segment_read_again_posts_nothing_again(
        self, drain: Drain, spool: Spool, database: Database
    ) -> None:
        for number in range(3):
            spool.append(encoded(f"req_{number}"))
        await drain.drain()
        spool.append(encoded("req_3"))
        spool.segments[0].offset = 0
        await drain.drain()
        assert await posted(database) == (4, 4 * COST)

    async def test_of_one_id_twice_the_first_counts(self, drain: Drain, spool: Spool, database: Database) -> None:
        spool.append(encoded("req_1"))
        spool.append(encoded("req_1", cost_nano=1))
        await drain.drain()
        assert await posted(database) == (1, COST)

    async def test_is_written_with_the_log_or_not_at_all(
        self, drain: Drain, spool: Spool, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def dies(connection: object, rows: object) -> None:
            raise Unavailable("gone")

        spool.append(encoded("req_1"))
        with monkeypatch.context() as patch:
            patch.setattr(drain, "_post", Ledger([post_rollups, dies]).post)
            with pytest.raises(Unavailable):
                await drain.drain()
        assert (await ids(database), await posted(database)) == ([], (0, 0))
        await drain.drain()
        assert (await ids(database), await posted(database)) == (["req_1"], (1, COST))


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
            encoded("req_poison", end_user=base64.b64encode(random.Random(1).randbytes(9000)).decode()),
            b"\x00",
            b"\xc1nonsense",
        ],
        ids=[
            "too large",
            "no date",
            "wrong type",
            "not utf-8",
            "not json",
            "no index takes it",
            "no record",
            "nonsense",
        ],
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
        assert await posted(database) == (3, 3 * COST)

    async def test_what_the_ledger_refuses_is_in_neither(
        self, drain: Drain, spool: Spool, database: Database, tmp_path: Path
    ) -> None:
        """A cost whose parts do not fit: the exchange itself could be stored."""
        poison = encoded("req_2", input_nano=2**63 - 1, output_nano=2**63 - 1)
        for payload in (encoded("req_1"), poison, encoded("req_3")):
            spool.append(payload)
        await drain.drain()
        assert await ids(database) == ["req_1", "req_3"]
        assert await posted(database) == (2, 2 * COST)
        assert rejected(tmp_path) == [poison]

    async def test_an_hour_that_is_full_is_no_end(
        self, drain: Drain, spool: Spool, database: Database, tmp_path: Path
    ) -> None:
        """The rollup's sum would not fit its column."""
        for number in range(3):
            spool.append(encoded(f"req_{number}", cost_nano=2**62))
        await drain.drain()
        assert await posted(database) == (1, 2**62)
        assert len(rejected(tmp_path)) == 2

    async def test_the_character_nul_is_no_poison(self, drain: Drain, spool: Spool, database: Database) -> None:
        spool.append(
            encoded(
                "req_1",
                requested_model="a\0b",
                served_model="s\0",
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
        assert [each.model for each in await ledger(database)] == ["s\ufffd"]
        assert (row.request, row.reply) == (b"\0\xff", b"\0\xff")
        assert (row.request_metadata, row.error) == ({"k\ufffd": "v\ufffd"}, {"message": "\ufffd"})

    async def test_an_id_that_no_index_takes_names_nothing(
        self, drain: Drain, spool: Spool, database: Database
    ) -> None:
        """Upstreams choose it."""
        long = base64.b64encode(random.Random(1).randbytes(6000)).decode()
        spool.append(encoded("req_1", reply_id=long, stored=True))
        spool.append(encoded("req_2", reply_id=long[:LONGEST_REPLY_ID]))
        await drain.drain()
        assert [row.reply_id for row in await stored(database)] == [None, long[:LONGEST_REPLY_ID]]
        async with database.session() as session:
            assert list(await session.scalars(select(StoredCompletionRow.completion_id))) == ["req_1"]
        assert await posted(database) == (2, 2 * COST)

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

    @pytest.mark.parametrize("odd", ["lock", "00000001.seg"])
    async def test_one_that_cannot_be_read_holds_up_no_other(
        self, drain: Drain, spool: Spool, database: Database, tmp_path: Path, odd: str
    ) -> None:
        """Another user's, or on a disk that fails: here a directory is in the place of a file."""
        other, dead = (Spool(tmp_path / "spool", segment_bytes=10_000) for _ in range(2))
        dead.append(encoded("req_1"))
        for each in (other, dead):
            each.close(leave=True)
        unreadable = (
            dead.directory.rename(tmp_path / "spool" / "zzz"),
            other.directory.rename(tmp_path / "spool" / "aaa"),
        )
        for path in list(unreadable[1].iterdir()):
            path.unlink()
        (unreadable[1] / odd).mkdir()
        with pytest.raises(IsADirectoryError):
            await drain.adopt_orphans()
        assert await ids(database) == ["req_1"]
        assert sorted(each.name for each in (tmp_path / "spool").iterdir()) == sorted(["aaa", spool.directory.name])

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
        other = Drain(other_spool, database, post=POST)
        assert sum(await asyncio.gather(drain.adopt_orphans(), other.adopt_orphans())) == 10
        assert len(await ids(database)) == 10
        assert await posted(database) == (10, 10 * COST)
        other_spool.close()


class Released:
    """Who was said to have ended, and how much was in the ledger at that moment."""

    def __init__(self, database: Database) -> None:
        self.told: list[tuple[str, int]] = []
        self.away = False
        self._database = database

    async def __call__(self, holder: str) -> None:
        if self.away:
            raise Unavailable("away")
        self.told.append((holder, len(await ledger(self._database))))


class TestReleased:
    @pytest.fixture
    def released(self, drain: Drain, database: Database, monkeypatch: pytest.MonkeyPatch) -> Released:
        released = Released(database)
        monkeypatch.setattr(drain, "_released", released)
        return released

    async def test_once_everything_that_the_dead_spent_is_in_the_ledger(
        self, drain: Drain, released: Released, tmp_path: Path, database: Database
    ) -> None:
        dead = Spool(tmp_path / "spool", segment_bytes=300)
        for number in range(10):
            dead.append(encoded(f"req_{number}"))
        assert len(dead.segments) > 2
        dead.close()
        await drain.adopt_orphans()
        assert released.told == [(dead.directory.name, 10)]
        assert {row.holder for row in await ledger(database)} == {dead.directory.name}

    async def test_again_where_nobody_listened(self, drain: Drain, released: Released, tmp_path: Path) -> None:
        dead = Spool(tmp_path / "spool", segment_bytes=10_000)
        dead.append(encoded("req_1"))
        dead.close()
        released.away = True
        with pytest.raises(Unavailable):
            await drain.adopt_orphans()
        assert dead.directory.exists()
        released.away = False
        await drain.adopt_orphans()
        assert released.told == [(dead.directory.name, 1)]
        assert not dead.directory.exists()


class TestClose:
    @pytest.fixture
    def own(self, tmp_path: Path) -> Spool:
        return Spool(tmp_path / "spool", segment_bytes=1500)

    async def test_drains_releases_and_leaves_nothing(self, own: Spool, database: Database) -> None:
        released = Released(database)
        own.append(encoded("req_1"))
        await Drain(own, database, post=POST, released=released).close()
        assert released.told == [(own.directory.name, 1)]
        assert not own.directory.exists()

    async def test_what_could_not_be_released_is_left_to_the_next(
        self, own: Spool, drain: Drain, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        released = Released(database)
        released.away = True
        own.append(encoded("req_1"))
        await Drain(own, database, post=POST, released=released).close()
        assert (own.size, own.directory.exists()) == (0, True)
        released.away = False
        monkeypatch.setattr(drain, "_released", released)
        await drain.adopt_orphans()
        assert released.told == [(own.directory.name, 1)]
        assert await posted(database) == (1, COST)

    async def test_without_the_database_everything_is_left(self, own: Spool, drain: Drain, database: Database) -> None:
        away = Database("postgresql+asyncpg://postgres@127.0.0.1:1/nothing", pool_size=1, timeout=5)
        own.append(encoded("req_1"))
        await Drain(own, away, post=POST).close()
        await away.close()
        assert await drain.adopt_orphans() == 1
        assert await posted(database) == (1, COST)

    async def test_whatever_goes_wrong_the_next_process_goes_on(
        self,
        spool: Spool,
        database: Database,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        async def breaks(connection: object, rows: object) -> None:
            raise RuntimeError("odd")

        spool.append(encoded("req_1"))
        await Drain(spool, database, post=Ledger([post_rollups, breaks]).post).close()
        assert "left to the next process" in caplog.text
        assert await ids(database) == []
        other = Spool(tmp_path / "spool", segment_bytes=1500)
        assert await Drain(other, database, post=POST).adopt_orphans() == 1
        assert (await ids(database), await posted(database)) == (["req_1"], (1, COST))
        other.close()
