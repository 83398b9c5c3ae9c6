import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from gateway.db.database import Database
from gateway.db.tables import FileRow
from gateway.errors import InvalidRequest, NotFound, Unavailable, Unconfirmed
from gateway.files import repository, service
from gateway.files.service import BATCH_EXPIRY_SECONDS, FILENAME_LIMIT, Upload, one_piece
from gateway.files.store import FileStore
from gateway.protocol.files import INTERNAL_PURPOSES
from gateway.settings import FileSettings

pytestmark = pytest.mark.anyio


@pytest.fixture
def files(tmp_path: Path) -> FileStore:
    return FileStore(FileSettings(), tmp_path)


@pytest.fixture
async def project(database: Database) -> str:
    async with database.session() as session:
        await session.execute(text("INSERT INTO projects (id, name, created_at) VALUES ('proj_1', 'p', now())"))
    return "proj_1"


async def store(database: Any, files: FileStore, **fields: Any) -> FileRow:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"{}\n"

    wanted = {"filename": "a.jsonl", "purpose": "fine-tune", "pieces": pieces(), "expires_after": None}
    return await service.store(database, files, "proj_1", Upload(**(wanted | fields)), max_bytes=100)


async def stored_content(database: Database, files: FileStore) -> bytes:
    """Of the only file."""
    async with database.session() as session:
        [row] = await session.scalars(select(FileRow))
    return b"".join([piece async for piece in files.get(row.id)])


class DatabaseAway:
    @asynccontextmanager
    async def session(self) -> Any:
        raise Unavailable("away")
        yield


class AnswerLost:
    """A database that commits, and whose answer to that is lost."""

    def __init__(self, database: Database, error: BaseException, *, then_away: bool = False) -> None:
        self._database, self._error, self._then_away = database, error, then_away
        self._was_lost = False

    @asynccontextmanager
    async def session(self) -> Any:
        if self._was_lost and self._then_away:
            raise Unavailable("away")
        async with self._database.session() as session:
            yield session
        if not self._was_lost:
            self._was_lost = True
            raise self._error


class CutOff:
    """A database whose COMMIT goes on after its caller was cut off."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._committing: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def session(self) -> Any:
        context = self._database.session()
        session = await context.__aenter__()
        if self._committing is not None:
            yield session
            await context.__aexit__(None, None, None)
            return
        yield session
        self._committing = asyncio.ensure_future(self._end(context))
        raise asyncio.CancelledError

    async def _end(self, context: Any) -> None:
        await asyncio.sleep(0.3)
        await context.__aexit__(None, None, None)


class TestStore:
    async def test_expiry_is_only_batches_own(self, database: Database, files: FileStore, project: str) -> None:
        assert (await store(database, files)).expires_at is None
        batch = await store(database, files, purpose="batch")
        assert batch.expires_at is not None
        assert (batch.expires_at - batch.created_at).total_seconds() == BATCH_EXPIRY_SECONDS
        asked = await store(database, files, expires_after=3600, purpose="batch")
        assert asked.expires_at is not None
        assert (asked.expires_at - asked.created_at).total_seconds() == 3600

    @pytest.mark.parametrize("purpose", ["fine-tune", "batch"])
    async def test_purposes_that_want_lines_want_jsonl(
        self, database: Database, files: FileStore, project: str, purpose: str
    ) -> None:
        with pytest.raises(InvalidRequest, match=r"must be a \.jsonl file") as caught:
            await store(database, files, purpose=purpose, filename="a.csv")
        assert caught.value.param == "file"
        await store(database, files, purpose=purpose, filename="A.JSONL")
        await store(database, files, purpose="user_data", filename="a.csv")

    async def test_name_is_kept_as_text_only(
        self, database: Database, files: FileStore, project: str, tmp_path: Path
    ) -> None:
        row = await store(database, files, filename="../../é\x00vil" + "x" * 600, purpose="evals")
        assert row.filename.startswith("../../évil")
        assert len(row.filename) == FILENAME_LIMIT
        assert [path.name for path in (tmp_path / "blobs").iterdir()] == [row.id]

    async def test_row_that_cannot_be_written_leaves_no_content(self, files: FileStore, tmp_path: Path) -> None:
        with pytest.raises(Unavailable):
            await store(DatabaseAway(), files)
        assert list((tmp_path / "blobs").iterdir()) == []

    @pytest.mark.parametrize("then_away", [False, True])
    @pytest.mark.parametrize("error", [Unconfirmed("lost"), asyncio.CancelledError()], ids=["lost", "cancelled"])
    async def test_row_that_may_have_been_committed_keeps_its_content(
        self, database: Database, files: FileStore, project: str, error: BaseException, then_away: bool
    ) -> None:
        """Whether or not the database can be asked afterwards."""
        with pytest.raises(type(error)):
            await store(AnswerLost(database, error, then_away=then_away), files)
        assert await stored_content(database, files) == b"{}\n"

    async def test_row_that_is_committed_a_little_later_keeps_its_content(
        self, database: Database, files: FileStore, project: str
    ) -> None:
        with pytest.raises(asyncio.CancelledError):
            await store(CutOff(database), files)
        assert await stored_content(database, files) == b"{}\n"

    async def test_row_that_was_rolled_back_leaves_no_content(
        self, database: Database, files: FileStore, tmp_path: Path
    ) -> None:
        """Its project is not there, so nobody has to be asked."""
        with pytest.raises(IntegrityError):
            await store(database, files)
        assert list((tmp_path / "blobs").iterdir()) == []

    async def test_one_that_is_cancelled_before_its_commit_leaves_no_content(
        self, database: Database, files: FileStore, project: str, tmp_path: Path
    ) -> None:
        upload = Upload(filename="a.csv", purpose="batch_output", pieces=one_piece(b"1"), expires_after=None)

        async def cancelled() -> None:
            async with (
                service.written(database, files, project, upload, max_bytes=5) as row,
                database.session() as session,
            ):
                session.add(row)
                await session.flush()
                raise asyncio.CancelledError

        with pytest.raises(asyncio.CancelledError):
            await cancelled()
        assert list((tmp_path / "blobs").iterdir()) == []
        async with database.session() as session:
            assert list(await session.scalars(select(FileRow))) == []


class TestStoreInternal:
    @pytest.mark.parametrize("purpose", INTERNAL_PURPOSES)
    async def test_is_a_file_that_clients_could_not_upload(
        self, database: Database, files: FileStore, project: str, purpose: str
    ) -> None:
        upload = Upload(filename="a.csv", purpose=purpose, pieces=one_piece(b"step\n1\n"), expires_after=None)
        row = await service.store_internal(database, files, project, upload)
        async with database.session() as session:
            found = await repository.find(session, project, row.id)
        assert (found.purpose, found.bytes, found.expires_at) == (purpose, 7, None)
        assert b"".join([piece async for piece in files.get(row.id)]) == b"step\n1\n"
        with pytest.raises(InvalidRequest, match="is not one of") as caught:
            await store(database, files, purpose=purpose)
        assert caught.value.param == "purpose"

    async def test_wants_an_internal_purpose(self, database: Database, files: FileStore, project: str) -> None:
        upload = Upload(filename="a.jsonl", purpose="fine-tune", pieces=one_piece(b""), expires_after=None)
        with pytest.raises(ValueError, match="fine-tune is not one of"):
            await service.store_internal(database, files, project, upload)


class TestWritten:
    async def test_body_that_fails_leaves_no_content(self, files: FileStore, tmp_path: Path) -> None:
        upload = Upload(filename="a.csv", purpose="batch_output", pieces=one_piece(b"1"), expires_after=None)
        with pytest.raises(RuntimeError):
            async with service.written(DatabaseAway(), files, "proj_1", upload, max_bytes=5):
                raise RuntimeError("the transaction failed")
        assert list((tmp_path / "blobs").iterdir()) == []


class TestDelete:
    async def test_is_gone_though_its_content_cannot_be_removed(
        self, database: Database, files: FileStore, project: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        row = await store(database, files)

        async def away(_: str) -> None:
            raise Unavailable("away")

        monkeypatch.setattr(files, "delete", away)
        await service.delete(database, files, project, row.id)
        with pytest.raises(NotFound):
            await service.delete(database, files, project, row.id)
