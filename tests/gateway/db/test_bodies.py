"""How bodies are kept in a column."""

import logging
import os

import pytest
import zstandard
from sqlalchemy import select

from gateway.db.bodies import size_of
from gateway.db.database import Database
from gateway.db.tables import ExchangeRow
from gateway.kit import packing
from gateway.kit.packing import COMPRESSED, HEAD, MARKS, MOST_BYTES, MOVED, MovedBody, pack, unpack
from tests.gateway.routes.test_exchanges import add

SHORT, LONG, RANDOM = b'{"model": "m"}', b'{"content": "' + b"zebra " * 1000 + b'"}', os.urandom(5000)


class TestPacked:
    @pytest.mark.parametrize("body", [b"", SHORT, LONG, RANDOM, *(mark + SHORT for mark in MARKS), b"\x00", COMPRESSED])
    def test_comes_back_to_the_byte(self, body: bytes) -> None:
        assert unpack(pack(body)) == body
        assert type(unpack(pack(body))) is bytes

    def test_only_what_is_long_and_becomes_shorter_is_compressed(self) -> None:
        assert pack(SHORT) is SHORT
        assert pack(RANDOM) is RANDOM
        assert len(pack(LONG)) < 100

    def test_what_was_kept_before_is_read_as_it_is(self) -> None:
        assert unpack(LONG) is LONG


class TestUnpacked:
    def test_nothing_grows_beyond_what_it_says(self, caplog: pytest.LogCaptureFixture) -> None:
        frame = zstandard.compress(LONG)
        assert unpack(HEAD.pack(COMPRESSED, len(LONG)) + frame) == LONG
        assert unpack(HEAD.pack(COMPRESSED, len(LONG) - 1) + frame) == b""
        assert "cannot be read" in caplog.text

    def test_nor_beyond_any_body(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        kept = pack(LONG)
        monkeypatch.setattr(packing, "MOST_BYTES", len(LONG))
        assert unpack(kept) == LONG
        monkeypatch.setattr(packing, "MOST_BYTES", len(LONG) - 1)
        assert unpack(kept) == b""
        assert MOST_BYTES == 2**30

    def test_a_frame_that_does_not_tell_its_size_is_not_opened(self, caplog: pytest.LogCaptureFixture) -> None:
        frame = zstandard.ZstdCompressor(write_content_size=False).compress(LONG)
        assert unpack(HEAD.pack(COMPRESSED, len(LONG)) + frame) == b""

    def test_what_is_damaged_is_empty_and_an_error_of_the_log(self, caplog: pytest.LogCaptureFixture) -> None:
        kept = pack(LONG)
        with caplog.at_level(logging.ERROR):
            assert unpack(kept[:-8]) == b""
            assert unpack(COMPRESSED + bytes(4) + b"no frame") == b""
        assert len(caplog.records) == 2

    def test_what_is_elsewhere_says_where_and_how_large(self) -> None:
        found = unpack(HEAD.pack(MOVED, 70_000) + b"bodies/x")
        assert isinstance(found, MovedBody)
        assert (found, found.key, found.size) == (b"", "bodies/x", 70_000)
        assert unpack(found.stored).__dict__ == found.__dict__


@pytest.mark.anyio
class TestColumn:
    async def test_is_written_and_read(self, database: Database) -> None:
        moved = MovedBody.named("bodies/x", 5)
        (id,) = await add(database, {"request": pack(LONG), "reply": moved})
        async with database.session() as session:
            row = await session.get_one(ExchangeRow, id)
        assert row.request == LONG
        assert isinstance(row.reply, MovedBody)
        assert row.reply.key == "bodies/x"

    @pytest.mark.parametrize("size", [0, 14, 70_000, 3_000_000_000])
    async def test_tells_its_size_whatever_its_form(self, database: Database, size: int) -> None:
        """Beyond what a signed number of four bytes holds."""
        plain = size < 100_000
        kept = [b"x" * size, pack(b"x" * size)] if plain else []
        kept.append(MovedBody.named("k", size))
        for number, each in enumerate(kept):
            (id,) = await add(database, {"id": f"req_{number}", "request": each, "reply": None})
            async with database.session() as session:
                sizes = select(size_of("request"), size_of("reply")).where(ExchangeRow.id == id)
                assert (await session.execute(sizes)).one() == (size, None)
