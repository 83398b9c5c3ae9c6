import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.errors import ContentTooLarge, NotFound, Unavailable
from gateway.files.store import PART, PIECE, FileStore
from gateway.settings import FileSettings

pytestmark = pytest.mark.anyio

MB = 1024 * 1024


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(FileSettings(), tmp_path)


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def content(store: FileStore, key: str) -> bytes:
    return b"".join([piece async for piece in store.get(key)])


def blobs(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "blobs").iterdir())


class TestPut:
    @pytest.mark.parametrize("parts", [(), (b"",), (b"hello",), (b"a", b"b" * 100), (b"x" * MB,) * 17])
    async def test_what_was_put_comes_back(self, store: FileStore, parts: tuple[bytes, ...]) -> None:
        stored = await store.put("file-1", pieces(*parts), max_bytes=PART * 4)
        whole = b"".join(parts)
        assert (stored.bytes, stored.sha256) == (len(whole), hashlib.sha256(whole).hexdigest())
        assert await content(store, "file-1") == whole

    async def test_of_just_the_limit_is_taken(self, store: FileStore) -> None:
        assert (await store.put("file-1", pieces(b"12345"), max_bytes=5)).bytes == 5

    @pytest.mark.parametrize("count", [1, 20])
    async def test_too_large_leaves_nothing(self, store: FileStore, tmp_path: Path, count: int) -> None:
        with pytest.raises(ContentTooLarge, match=r"larger than the limit of .* Split it"):
            await store.put("file-1", pieces(*[b"x" * MB] * count, b"x"), max_bytes=count * MB)
        assert blobs(tmp_path) == []

    async def test_source_that_breaks_leaves_nothing(self, store: FileStore, tmp_path: Path) -> None:
        async def broken() -> AsyncIterator[bytes]:
            for _ in range(20):
                yield b"x" * MB
            raise RuntimeError("the client has left")

        with pytest.raises(RuntimeError, match="has left"):
            await store.put("file-1", broken(), max_bytes=PART * 4)
        assert blobs(tmp_path) == []

    async def test_storage_that_does_not_take_it_is_unavailable(self, store: FileStore, tmp_path: Path) -> None:
        (tmp_path / "blobs").rmdir()
        (tmp_path / "blobs").write_text("a file where the directory was")
        with pytest.raises(Unavailable, match="file storage"):
            await store.put("file-1", pieces(b"x"), max_bytes=5)


class TestGet:
    async def test_missing_is_not_found(self, store: FileStore) -> None:
        with pytest.raises(NotFound, match="gone"):
            await content(store, "file-1")

    async def test_large_one_comes_in_pieces(self, store: FileStore) -> None:
        await store.put("file-1", pieces(*[b"x" * MB] * 17), max_bytes=PART * 4)
        sizes = [len(piece) async for piece in store.get("file-1")]
        assert sum(sizes) == 17 * MB
        assert max(sizes) <= PIECE


class TestDelete:
    async def test_removes_it_and_twice_is_no_error(self, store: FileStore, tmp_path: Path) -> None:
        await store.put("file-1", pieces(b"x"), max_bytes=5)
        await store.delete("file-1")
        await store.delete("file-1")
        assert blobs(tmp_path) == []


class TestUrl:
    async def test_another_place_than_the_data_directory(self, tmp_path: Path) -> None:
        (tmp_path / "elsewhere").mkdir()
        store = FileStore(FileSettings(url=f"file://{tmp_path}/elsewhere"), tmp_path / "data")
        await store.put("file-1", pieces(b"x"), max_bytes=5)
        assert (tmp_path / "elsewhere" / "file-1").read_bytes() == b"x"
        assert not (tmp_path / "data").exists()
