"""Multipart forms that carry one large file: passed on while it arrives, neither held in memory nor spooled to disk."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from litestar import Request
from multipart import (  # the parser that Litestar uses; where python-multipart is installed too, its shim hides the types
    MultipartError,  # pyright: ignore[reportAttributeAccessIssue]
    PushMultipartParser,  # pyright: ignore[reportAttributeAccessIssue]
    parse_options_header,  # pyright: ignore[reportAttributeAccessIssue]
)

from gateway.errors import ClientLeft, ContentTooLarge, InvalidRequest, MissingParameter
from gateway.files.store import too_large

FORM_BYTES = 64 * 1024
"""What a form may hold besides its file."""


class FileForm:
    """A form with one file, in any order of its fields (openai-python sends the file last, openai-node first).

    `await form.open()` reads up to the file; `form.pieces()` yields its content; then `fields` holds every text field.

    Args:
        param: the name of the file's field.
        max_bytes: of the file.

    Raises:
        InvalidRequest: not a multipart form.
        ContentTooLarge: Content-Length says so; nothing was read.
    """

    def __init__(self, request: Request[Any, Any, Any], param: str, max_bytes: int) -> None:
        self.filename = ""
        self.fields: dict[str, str] = {}
        self._with_filename: set[str] = set()
        self._param = param
        self._max_bytes = max_bytes
        self._receive = request.receive
        self._events = self._parse(_boundary(request))
        if (request.content_length or 0) > max_bytes + FORM_BYTES:
            raise self._too_large()

    async def open(self) -> None:
        """Read up to the file's content.

        Raises:
            MissingParameter: there is no file.
            InvalidRequest: the form cannot be understood, or the file has no filename.
        """
        if not await self._next_file():
            raise MissingParameter(self._param)

    async def pieces(self) -> AsyncIterator[bytes]:
        """The content of the file, then read the form to its end.

        Raises:
            ContentTooLarge: more than `max_bytes`.
            InvalidRequest: the form is cut, cannot be understood, or has a second file.
            ClientLeft: nobody waits for an answer.
        """
        left = self._max_bytes
        async for event in self._events:
            if event is None:
                break
            left -= len(event)
            if left < 0:
                raise self._too_large()
            yield event
        if await self._next_file():
            raise InvalidRequest(f"'{self._param}' was sent more than once.", param=self._param)

    def text(self, name: str) -> str:
        """A field that must be there. Raises MissingParameter; InvalidRequest when it came as a file."""
        if name not in self.fields:
            raise MissingParameter(name)
        if name in self._with_filename:
            raise InvalidRequest(f"'{name}' must be a text field without a filename.", param=name)
        return self.fields[name]

    async def _next_file(self) -> bool:
        """Read text fields until the file begins (True) or the form ends."""
        async for event in self._events:
            if event.filename and event.name == self._param:
                self.filename = event.filename
                return True
            await self._read_text(event)
        return False

    async def _read_text(self, segment: Any) -> None:
        name = segment.name
        if name == self._param:
            raise InvalidRequest(
                f"'{name}' must be a file, sent as multipart/form-data with a filename.", param=self._param
            )
        if name in self.fields:
            raise InvalidRequest(f"'{name[:50]}' was sent more than once.", param=name[:50])
        if segment.filename:
            self._with_filename.add(name)
        content = bytearray()
        async for event in self._events:
            if event is None:
                break
            content += event
            if len(content) > FORM_BYTES:
                raise InvalidRequest(f"'{name[:50]}' is too long for a text field.", param=name[:50])
        try:
            self.fields[name] = content.decode()
        except UnicodeDecodeError:
            raise InvalidRequest(f"'{name[:50]}' is not in UTF-8.", param=name[:50]) from None

    async def _parse(self, boundary: str) -> AsyncGenerator[Any]:
        """A segment's head, its bytes, None; and the next segment's."""
        try:
            with PushMultipartParser(boundary, max_segment_count=100) as parser:
                async for chunk in self._chunks():
                    for event in parser.parse(chunk):
                        yield event
        except (MultipartError, UnicodeDecodeError) as error:
            raise InvalidRequest(f"The body is not a complete multipart/form-data form: {error}.") from None

    async def _chunks(self) -> AsyncIterator[bytes]:
        left, more = self._max_bytes + FORM_BYTES, True
        while more:
            event: Any = await self._receive()
            if event["type"] == "http.disconnect":
                raise ClientLeft
            body = event.get("body", b"")
            left -= len(body)
            if left < 0:
                raise self._too_large()
            if body:
                yield body
            more = event.get("more_body", False)

    def _too_large(self) -> ContentTooLarge:
        return too_large(self._max_bytes, self._param)


def _boundary(request: Request[Any, Any, Any]) -> str:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != "multipart/form-data" or not options.get("boundary"):
        raise InvalidRequest("The body must be multipart/form-data, with its boundary named in Content-Type.")
    return options["boundary"]
