"""What two calls at a time, or a part that is gone, do to an upload; the rest is in tests/gateway/routes/test_uploads.py."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text

from gateway.db.database import Database
from gateway.errors import InvalidRequest, Unavailable
from gateway.files import uploads
from gateway.files.store import FileStore
from gateway.protocol.files import CompleteUpload, CreateUpload
from gateway.settings import FileSettings, Settings
from tests.places import blobs

pytestmark = pytest.mark.anyio

Started = tuple[str, CompleteUpload]


@pytest.fixture
async def project(database: Database) -> str:
    async with database.session() as session:
        await session.execute(text("INSERT INTO projects (id, name, created_at) VALUES ('proj_1', 'p', now())"))
    return "proj_1"


async def pieces(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def start(database: Database, store: FileStore, project: str) -> Started:
    """An upload whose two parts have arrived: its id, and what completes it."""
    wanted = CreateUpload(filename="a", purpose="user_data", bytes=4, mime_type="text/plain")
    upload = await uploads.create(database, project, wanted, FileSettings())
    sent = [await uploads.add_part(database, store, upload, pieces(each), max_bytes=9) for each in (b"ab", b"cd")]
    return upload.id, CompleteUpload(part_ids=[part.id for part in sent])


class TestRoom:
    async def test_is_taken_by_what_is_announced_until_the_upload_ends(self, database: Database, project: str) -> None:
        """Parts are no files yet: without this, a project could fill the storage with uploads it never completes."""
        limits = FileSettings(max_project_bytes=10)
        wanted = CreateUpload(filename="a", purpose="user_data", bytes=6, mime_type="text/plain")
        upload = await uploads.create(database, project, wanted, limits)
        with pytest.raises(InvalidRequest, match="stores 6 bytes of at most 10") as refusal:
            await uploads.create(database, project, wanted, limits)
        assert refusal.value.param == "bytes"
        await uploads.cancel(database, project, upload.id)
        upload = await uploads.create(database, project, wanted, limits)
        async with database.session() as session:
            await session.execute(text("UPDATE uploads SET expires_at = now() WHERE id = :id"), {"id": upload.id})
        await uploads.create(database, project, wanted, limits)


class Slow:
    """A store that waits, after the first part was read, until the test says so."""

    def __init__(self, store: FileStore) -> None:
        self._store = store
        self.reading, self.go_on = asyncio.Event(), asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def get(self, key: str) -> AsyncIterator[bytes]:
        async for piece in self._store.get(key):
            yield piece
        self.reading.set()
        await self.go_on.wait()


class TestComplete:
    async def test_the_slower_of_two_calls_answers_with_the_file_of_the_other(
        self, database: Database, store: FileStore, place: Settings, project: str
    ) -> None:
        upload_id, wanted = await start(database, store, project)
        slow: Any = Slow(store)
        behind = asyncio.ensure_future(uploads.complete(database, slow, project, upload_id, wanted))
        await slow.reading.wait()
        first = await uploads.complete(database, store, project, upload_id, wanted)
        slow.go_on.set()
        assert (await behind).file.id == first.file.id
        assert await blobs(place) == sorted([first.file.id, *wanted.part_ids])

    async def test_neither_do_parts_matter_that_were_removed_meanwhile(
        self, database: Database, store: FileStore, place: Settings, project: str
    ) -> None:
        upload_id, wanted = await start(database, store, project)
        slow: Any = Slow(store)
        behind = asyncio.ensure_future(uploads.complete(database, slow, project, upload_id, wanted))
        await slow.reading.wait()
        first = await uploads.complete(database, store, project, upload_id, wanted)
        assert await uploads.remove_leftovers(database, store) == 2
        slow.go_on.set()
        assert (await behind).file.id == first.file.id
        assert await blobs(place) == [first.file.id]

    async def test_cancelled_meanwhile_leaves_nothing(
        self, database: Database, store: FileStore, place: Settings, project: str
    ) -> None:
        upload_id, wanted = await start(database, store, project)
        slow: Any = Slow(store)
        behind = asyncio.ensure_future(uploads.complete(database, slow, project, upload_id, wanted))
        await slow.reading.wait()
        await uploads.cancel(database, project, upload_id)
        slow.go_on.set()
        with pytest.raises(InvalidRequest, match="is cancelled"):
            await behind
        assert await blobs(place) == sorted(wanted.part_ids)

    async def test_time_that_runs_out_meanwhile_does_not_matter(
        self, database: Database, store: FileStore, project: str
    ) -> None:
        upload_id, wanted = await start(database, store, project)
        slow: Any = Slow(store)
        behind = asyncio.ensure_future(uploads.complete(database, slow, project, upload_id, wanted))
        await slow.reading.wait()
        async with database.session() as session:
            await session.execute(text("UPDATE uploads SET expires_at = now() - interval '1 second'"))
        await uploads.remove_leftovers(database, store)
        slow.go_on.set()
        assert (await behind).upload.status == "completed"

    @pytest.mark.parametrize("content", [None, b"a"])
    async def test_part_that_is_gone_or_cut_can_be_sent_again(
        self, database: Database, store: FileStore, place: Settings, project: str, content: bytes | None
    ) -> None:
        upload_id, wanted = await start(database, store, project)
        await store.delete(wanted.part_ids[0])
        if content is not None:
            await store.put(wanted.part_ids[0], pieces(content), max_bytes=9)
        with pytest.raises(Unavailable, match="part of this upload"):
            await uploads.complete(database, store, project, upload_id, wanted)
        assert [each for each in await blobs(place) if each.startswith("file-")] == []
        upload = await uploads.find_pending(database, project, upload_id)
        again = await uploads.add_part(database, store, upload, pieces(b"ab"), max_bytes=9)
        done = await uploads.complete(
            database, store, project, upload_id, CompleteUpload(part_ids=[again.id, wanted.part_ids[1]])
        )
        assert done.file.bytes == 4


class TestAddPart:
    async def test_to_an_upload_that_ended_while_it_arrived_leaves_nothing(
        self, database: Database, store: FileStore, place: Settings, project: str
    ) -> None:
        wanted = CreateUpload(filename="a", purpose="user_data", bytes=4, mime_type="text/plain")
        upload = await uploads.create(database, project, wanted, FileSettings())

        async def cancelling() -> AsyncIterator[bytes]:
            yield b"ab"
            await uploads.cancel(database, project, upload.id)

        with pytest.raises(InvalidRequest, match="is cancelled"):
            await uploads.add_part(database, store, upload, cancelling(), max_bytes=9)
        assert await blobs(place) == []
