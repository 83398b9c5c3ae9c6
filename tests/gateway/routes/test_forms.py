"""Forms byte by byte: wherever the body is cut into chunks, the file and its fields come out the same."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.errors import ClientLeft, ContentTooLarge, InvalidRequest, MissingParameter
from gateway.routes.forms import FORM_BYTES, FileForm

pytestmark = pytest.mark.anyio

BODY = (
    b'--b\r\ncontent-disposition: form-data; name="before"\r\n\r\n1\r\n'
    b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.txt"\r\n\r\nline\r\n--not the end\r\n\r\n'
    b'--b\r\ncontent-disposition: form-data; name="behind"\r\n\r\n\xc3\xa9\r\n--b--\r\n'
)
CONTENT = b"line\r\n--not the end\r\n"


class Request:
    """As much of a request as a form needs: its events, and its headers."""

    def __init__(self, *chunks: bytes, leaves: bool = False, length: int | None = None) -> None:
        self.headers = {"content-type": 'multipart/form-data; boundary="b"'}
        self.content_length = length
        last = {"type": "http.disconnect"} if leaves else {"type": "http.request", "body": b""}
        self._events = [*({"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks), last]

    async def receive(self) -> dict[str, Any]:
        return self._events.pop(0)


def form_of(*chunks: bytes, max_bytes: int = 1000, **more: Any) -> FileForm:
    request: Any = Request(*chunks, **more)
    return FileForm(request, "file", max_bytes)


async def drain(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


class TestFileForm:
    @pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 1000])
    async def test_chunks_of_any_size(self, size: int) -> None:
        form = form_of(*(BODY[start : start + size] for start in range(0, len(BODY), size)))
        await form.open()
        assert (form.filename, form.fields) == ("a.txt", {"before": "1"})
        assert await drain(form.pieces()) == CONTENT
        assert form.fields == {"before": "1", "behind": "é"}
        with pytest.raises(MissingParameter):
            form.text("absent")

    @pytest.mark.parametrize("end", [10, 70, 150, 175, 200, len(BODY) - 6])
    async def test_cut_anywhere_is_refused(self, end: int) -> None:
        form = form_of(BODY[:end])
        with pytest.raises(InvalidRequest):
            await read(form)

    @pytest.mark.parametrize("end", [0, 10, 150, len(BODY) - 6])
    async def test_client_that_leaves_anywhere_is_told_from_one_that_errs(self, end: int) -> None:
        with pytest.raises(ClientLeft):
            await read(form_of(BODY[:end], leaves=True))

    async def test_limit_is_the_files(self) -> None:
        assert await read(form_of(BODY, max_bytes=len(CONTENT))) == CONTENT
        with pytest.raises(ContentTooLarge):
            await read(form_of(BODY, max_bytes=len(CONTENT) - 1))

    async def test_length_that_is_announced_is_enough_to_refuse(self) -> None:
        form_of(BODY, max_bytes=10, length=FORM_BYTES + 10)
        with pytest.raises(ContentTooLarge):
            form_of(BODY, max_bytes=10, length=FORM_BYTES + 11)

    async def test_bytes_beside_the_file_are_limited_too(self) -> None:
        with pytest.raises(ContentTooLarge):
            await read(form_of(b"\r\n" * FORM_BYTES, BODY, max_bytes=10))


async def read(form: FileForm) -> bytes:
    await form.open()
    return await drain(form.pieces())
