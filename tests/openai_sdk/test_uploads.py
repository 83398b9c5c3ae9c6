"""client.uploads"""

import asyncio
import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from openai import APIStatusError, AsyncOpenAI, BadRequestError, NotFoundError, OpenAI

from tests.openai_sdk.stacks import EXAMPLES, examples

pytestmark = pytest.mark.train

MB = 1024 * 1024
CONTENT = examples(EXAMPLES) * 400
"""About 4 MB of JSON Lines."""
PART = 300_000
"""A size that cuts lines, and pieces of the storage, anywhere."""


def announce(client: OpenAI, content: bytes = CONTENT, **more: Any) -> Any:
    wanted = {"filename": "a.jsonl", "purpose": "fine-tune", "bytes": len(content), "mime_type": "application/jsonl"}
    return client.uploads.create(**(wanted | more))  # type: ignore[arg-type]


def pieces(content: bytes = CONTENT) -> list[bytes]:
    return [content[start : start + PART] for start in range(0, len(content), PART)]


class TestChunked:
    def test_a_file_on_disk(self, client: OpenAI, tmp_path: Path) -> None:
        path = tmp_path / "large.jsonl"
        path.write_bytes(CONTENT)
        md5 = hashlib.md5(CONTENT).hexdigest()
        upload = client.uploads.upload_file_chunked(
            file=path, mime_type="application/jsonl", purpose="fine-tune", part_size=PART, md5=md5
        )
        assert (upload.status, upload.bytes, upload.filename) == ("completed", len(CONTENT), "large.jsonl")
        assert upload.file is not None
        assert client.files.retrieve(upload.file.id) == upload.file
        assert client.files.content(upload.file.id).read() == CONTENT
        client.files.delete(upload.file.id)

    def test_a_file_in_memory(self, client: OpenAI) -> None:
        upload = client.uploads.upload_file_chunked(
            file=CONTENT, filename="a.jsonl", bytes=len(CONTENT), mime_type="application/jsonl", purpose="fine-tune"
        )
        assert upload.file is not None
        assert upload.file.purpose == "fine-tune"
        assert client.files.content(upload.file.id).read() == CONTENT
        client.files.delete(upload.file.id)

    async def test_asynchronous(self, asynchronous: AsyncOpenAI, tmp_path: Path) -> None:
        path = tmp_path / "large.jsonl"
        path.write_bytes(CONTENT)
        upload = await asynchronous.uploads.upload_file_chunked(
            file=path, mime_type="application/jsonl", purpose="fine-tune", part_size=PART
        )
        assert upload.file is not None
        assert (await asynchronous.files.content(upload.file.id)).content == CONTENT
        await asynchronous.files.delete(upload.file.id)


class TestParts:
    def test_sent_at_the_same_time_and_completed_in_the_order_of_the_file(self, client: OpenAI) -> None:
        upload = announce(client)
        with ThreadPoolExecutor(4) as pool:
            sent = list(pool.map(lambda piece: client.uploads.parts.create(upload.id, data=piece), pieces()[::-1]))
        assert {part.upload_id for part in sent} == {upload.id}
        done = client.uploads.complete(upload.id, part_ids=[part.id for part in sent[::-1]])
        assert done.file is not None
        assert client.files.content(done.file.id).read() == CONTENT
        again = client.uploads.complete(upload.id, part_ids=[part.id for part in sent[::-1]])
        assert again.file == done.file
        client.files.delete(done.file.id)

    async def test_sent_at_the_same_time_by_one_loop(self, asynchronous: AsyncOpenAI) -> None:
        upload = await asynchronous.uploads.create(
            filename="a.jsonl", purpose="fine-tune", bytes=len(CONTENT), mime_type="application/jsonl"
        )
        sent = await asyncio.gather(
            *(asynchronous.uploads.parts.create(upload.id, data=piece) for piece in pieces()[::-1])
        )
        done = await asynchronous.uploads.complete(upload.id, part_ids=[part.id for part in sent[::-1]])
        assert done.file is not None
        assert (await asynchronous.files.content(done.file.id)).content == CONTENT
        await asynchronous.files.delete(done.file.id)

    def test_largest_part_is_taken_and_a_larger_one_refused(self, client: OpenAI) -> None:
        upload = announce(client, purpose="user_data", bytes=8 * 1024 * MB)
        assert client.uploads.parts.create(upload.id, data=b"x" * 64 * MB).upload_id == upload.id
        with pytest.raises(APIStatusError, match="larger than the limit of 64 MB") as refused:
            client.uploads.parts.create(upload.id, data=b"x" * (64 * MB + 1))
        assert refused.value.status_code == 413
        client.uploads.cancel(upload.id)


class TestRefusals:
    def test_of_complete_leave_the_upload_open(self, client: OpenAI) -> None:
        upload = announce(client)
        sent = [client.uploads.parts.create(upload.id, data=piece).id for piece in pieces()]
        for part_ids, md5, param in (
            (sent[:-1], None, "part_ids"),
            ([*sent[:-1], "part_absent"], None, f"part_ids[{len(sent) - 1}]"),
            ([*sent, sent[0]], None, f"part_ids[{len(sent)}]"),
            (sent, "0" * 32, "md5"),
        ):
            with pytest.raises(BadRequestError) as refused:
                client.uploads.complete(upload.id, part_ids=part_ids, **({"md5": md5} if md5 else {}))
            assert refused.value.param == param
        done = client.uploads.complete(upload.id, part_ids=sent)
        assert done.file is not None
        with pytest.raises(BadRequestError, match="is completed"):
            client.uploads.cancel(upload.id)
        client.files.delete(done.file.id)

    def test_what_is_cancelled_takes_nothing(self, client: OpenAI, stranger: OpenAI) -> None:
        upload = announce(client)
        with pytest.raises(NotFoundError):
            stranger.uploads.cancel(upload.id)
        assert client.uploads.cancel(upload.id).status == "cancelled"
        with pytest.raises(BadRequestError, match="is cancelled"):
            client.uploads.parts.create(upload.id, data=b"x")
        with pytest.raises(BadRequestError, match="is cancelled"):
            client.uploads.complete(upload.id, part_ids=[])

    def test_name_and_purpose(self, client: OpenAI) -> None:
        for fields, param in (({"filename": "a.csv"}, "filename"), ({"purpose": "homework"}, "purpose")):
            with pytest.raises(BadRequestError) as refused:
                announce(client, **fields)
            assert refused.value.param == param
