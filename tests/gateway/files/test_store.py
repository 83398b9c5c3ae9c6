import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.errors import ContentTooLarge, NotFound, Unavailable
from gateway.files.store import PART, PIECE, FileStore
from gateway.settings import FileSettings, Settings
from tests.places import blobs
from tests.s3 import S3Server, bucket_of

pytestmark = pytest.mark.anyio

MB = 1024 * 1024


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def content(store: FileStore, key: str) -> bytes:
    return b"".join([piece async for piece in store.get(key)])


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
    async def test_too_large_leaves_nothing(self, store: FileStore, place: Settings, count: int) -> None:
        with pytest.raises(ContentTooLarge, match=r"larger than the limit of .* Split it"):
            await store.put("file-1", pieces(*[b"x" * MB] * count, b"x"), max_bytes=count * MB)
        assert await blobs(place) == []

    async def test_source_that_breaks_leaves_nothing(self, store: FileStore, place: Settings) -> None:
        async def broken() -> AsyncIterator[bytes]:
            for _ in range(20):
                yield b"x" * MB
            raise RuntimeError("the client has left")

        with pytest.raises(RuntimeError, match="has left"):
            await store.put("file-1", broken(), max_bytes=PART * 4)
        assert await blobs(place) == []

    async def test_storage_that_does_not_take_it_is_unavailable(self, on_disk: FileStore, tmp_path: Path) -> None:
        (tmp_path / "blobs").rmdir()
        (tmp_path / "blobs").write_text("a file where the directory was")
        with pytest.raises(Unavailable, match="file storage"):
            await on_disk.put("file-1", pieces(b"x"), max_bytes=5)


class TestGet:
    async def test_missing_is_not_found(self, store: FileStore) -> None:
        with pytest.raises(NotFound, match="gone"):
            await content(store, "file-1")

    async def test_large_one_comes_in_pieces(self, store: FileStore) -> None:
        await store.put("file-1", pieces(*[b"x" * MB] * 17), max_bytes=PART * 4)
        sizes = [len(piece) async for piece in store.get("file-1")]
        assert sum(sizes) == 17 * MB
        assert max(sizes) <= PIECE

    @pytest.mark.parametrize(
        ("start", "end"), [(0, 3), (PART - 3, PART + 3), (5, None), (0, 0), (17 * MB - 1, 99 * MB)]
    )
    async def test_any_range(self, store: FileStore, start: int, end: int | None) -> None:
        whole = os.urandom(17 * MB)
        await store.put("file-1", pieces(whole), max_bytes=PART * 4)
        assert b"".join([piece async for piece in store.get("file-1", start=start, end=end)]) == whole[start:end]


class TestDelete:
    async def test_removes_it_and_twice_is_no_error(self, store: FileStore, place: Settings) -> None:
        await store.put("file-1", pieces(b"x"), max_bytes=5)
        await store.delete("file-1")
        await store.delete("file-1")
        assert await blobs(place) == []

    async def test_many_at_once(self, store: FileStore, place: Settings) -> None:
        for key in ("file-1", "file-2", "file-3"):
            await store.put(key, pieces(b"x"), max_bytes=5)
        await store.delete("file-1", "file-absent", "file-3")
        assert await blobs(place) == ["file-2"]


class TestPing:
    async def test_place_that_answers(self, store: FileStore) -> None:
        await store.ping()
        await store.put("file-1", pieces(b"x"), max_bytes=5)
        await store.ping()


class TestBucket:
    async def test_large_blobs_travel_in_parts_and_small_ones_at_once(self, s3: S3Server) -> None:
        settings = s3.new_bucket()
        store = FileStore(settings, Path("/nowhere"))
        await store.put("file-small", pieces(b"x" * MB), max_bytes=PART * 4)
        await store.put("file-large", pieces(*[b"x" * MB] * 17), max_bytes=PART * 4)
        tags = {each["Key"]: each["ETag"] for each in s3.objects(settings)}
        assert "-" not in tags["some/prefix/file-small"]
        assert tags["some/prefix/file-large"].endswith('-3"')

    async def test_cut_blob_leaves_no_parts_either(self, s3: S3Server) -> None:
        settings = s3.new_bucket()
        store = FileStore(settings, Path("/nowhere"))
        with pytest.raises(ContentTooLarge):
            await store.put("file-1", pieces(*[b"x" * MB] * 20), max_bytes=19 * MB)
        assert s3.objects(settings) == []
        assert "Uploads" not in s3.client().list_multipart_uploads(Bucket=bucket_of(settings))

    async def test_credentials_that_are_not_taken(self, s3: S3Server) -> None:
        store = FileStore(s3.new_bucket(), Path("/nowhere"))
        with s3.checking_credentials():
            for refused in (store.ping(), store.put("file-1", pieces(b"x"), max_bytes=5), drain(store.get("file-1"))):
                with pytest.raises(Unavailable) as caught:
                    await refused
            with pytest.raises(Unavailable, match=r"s3://.* refuses the credentials: correct files\.s3_access_key_id"):
                await store.ping()
        assert "secret" not in str(caught.value)
        await store.ping()

    async def test_bucket_that_is_not_there(self, s3: S3Server) -> None:
        store = FileStore(s3.settings("s3://absent"), Path("/nowhere"))
        with pytest.raises(Unavailable, match="s3://absent has no such bucket"):
            await store.ping()
        with pytest.raises(Unavailable):
            await store.put("file-1", pieces(b"x"), max_bytes=5)

    async def test_server_that_is_away(self) -> None:
        settings = S3Server("http://127.0.0.1:9").settings("s3://bucket")
        store = FileStore(settings, Path("/nowhere"))
        with pytest.raises(Unavailable, match="does not answer"):
            await store.ping()
        for refused in (
            store.put("file-1", pieces(b"x"), max_bytes=5),
            store.put("file-1", pieces(*[b"x" * MB] * 9), max_bytes=PART * 4),
            drain(store.get("file-1")),
            store.delete("file-1"),
        ):
            with pytest.raises(Unavailable, match="please retry"):
                await refused

    async def test_variables_of_aws_serve_where_settings_are_empty(
        self, s3: S3Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings = s3.new_bucket()
        for name, value in {
            "AWS_ENDPOINT_URL": s3.url,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "AKIATEST",
            "AWS_SECRET_ACCESS_KEY": "secret",
        }.items():
            monkeypatch.setenv(name, value)
        await FileStore(FileSettings(url=settings.url), Path("/nowhere")).put("file-1", pieces(b"x"), max_bytes=5)
        assert [each["Key"] for each in s3.objects(settings)] == ["some/prefix/file-1"]
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        await FileStore(settings, Path("/nowhere")).ping()


async def drain(pieces: AsyncIterator[bytes]) -> None:
    async for _ in pieces:
        pass


class TestUrl:
    async def test_another_place_than_the_data_directory(self, tmp_path: Path) -> None:
        (tmp_path / "elsewhere").mkdir()
        store = FileStore(FileSettings(url=f"file://{tmp_path}/elsewhere"), tmp_path / "data")
        await store.put("file-1", pieces(b"x"), max_bytes=5)
        assert (tmp_path / "elsewhere" / "file-1").read_bytes() == b"x"
        assert not (tmp_path / "data").exists()
