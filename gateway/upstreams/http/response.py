"""A reply as it arrives. The connection writes it, one caller reads it."""

import asyncio
import zlib
from collections.abc import Callable
from typing import Any, Protocol

from gateway.upstreams.http.failures import Failure

HIGH_WATER = 1 << 18
"""Bytes that wait for whoever reads piece by piece; past them the server has to wait too (TCP's flow control)."""
END_SECONDS, END_BYTES = 1.0, 4096
"""What the end of a reply that nobody reads any more may take."""
MOST_BYTES = 512 << 20
"""Of a body, decoded: no model says more, and what comes is kept for the log."""
GZIP_OR_ZLIB = 47
"""For zlib: 32 (find out which) and the largest window."""
ENCODING = b"content-encoding"
ENCODING_LETTERS = len(ENCODING)
DECODED = (b"gzip", b"x-gzip", b"deflate")
LENGTHS = (b"content-length", b"transfer-encoding")
"""Headers that tell where a body ends."""
BODILESS = (204, 304)
Fields = list[tuple[bytes, bytes]]


class Line(Protocol):
    """The connection that it comes from."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def allow_idle(self, seconds: float | None) -> None: ...

    def abort(self) -> None: ...


class Response:
    """Status, headers, and the body: whole, or in the pieces in which it comes."""

    def __init__(self, line: Line, loop: asyncio.AbstractEventLoop) -> None:
        self.status = 0
        """0 until the head is complete."""
        self.fields: Fields = []
        """Headers as they came: whoever looks for one compares it in lower case."""
        self.complete = False
        self.failure: BaseException | None = None
        self._line = line
        self._loop = loop
        self._pieces: list[bytes] = []
        self._waiting = 0
        self._came = 0
        """Bytes of the body so far, decoded."""
        self._paced = True
        self._left = False
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._first: Callable[[bytes], bool] | None = None
        self._decoder: Any = None
        self._decoded = False

    def field(self, name: bytes) -> str | None:
        """The first header of that name, which is in lower case."""
        return next((value.decode("latin-1") for known, value in self.fields if known.lower() == name), None)

    @property
    def is_sized(self) -> bool:
        """It tells where it ends; another one ends with its connection."""
        return self.status in BODILESS or any(name.lower() in LENGTHS for name, _ in self.fields)

    def news(self) -> asyncio.Future[None]:
        """To be awaited at once: until more has come, or nothing more will. Raises Failure, TimeoutError."""
        if self.failure is not None:
            raise self.failure
        self._waiter = waiter = self._loop.create_future()
        return waiter

    async def begun(self) -> None:
        """Wait for the head. Raises Failure, TimeoutError."""
        while not self.status:
            await self.news()

    def whole(self) -> bytes | None:
        """The rest of the body where all of it is here; then nothing has to be waited for."""
        return self._take() if self.complete else None

    async def read(self) -> bytes:
        """The rest of the body; whoever gives up reading it hangs up. Raises Failure, TimeoutError."""
        self._paced = False
        self._let_flow()
        try:
            while not self.complete:
                await self.news()
        except BaseException:
            self.close()
            raise
        return self._take()

    def at_hand(self) -> bytes | None:
        """All that has come and was not read yet, maybe nothing; None at the end."""
        if self._pieces:
            return self._take()
        return None if self.complete else b""

    async def piece(self) -> bytes:
        """All that has come and was not read yet; empty at the end. Raises Failure, TimeoutError."""
        while (piece := self.at_hand()) == b"":
            await self.news()
        return piece or b""

    def offer_first(self, take: Callable[[bytes], bool]) -> None:
        """What comes while somebody waits for it is offered to `take`; what that takes wakes nobody. Once the head is here."""
        self._first = take

    def allow_idle(self, seconds: float | None) -> None:
        """From now on nothing may come for so long; then whoever reads gets a TimeoutError. None: no limit."""
        if not self.complete:
            self._line.allow_idle(seconds)

    def close(self) -> None:
        """Hang up, unless all of it is here: the server sees it, and a pending read fails."""
        if not self.complete and self.failure is None:
            self._line.abort()

    def give_up(self) -> None:
        """Its time is over, unless all of it is here: whoever reads it gets a TimeoutError, and the server sees it."""
        if not self.complete and self.failure is None:
            self._take()  # too late for it, too
            self.fail(TimeoutError())
            self._line.abort()

    def leave(self) -> None:
        """Nothing more of it is wanted. Where its end is as good as here, the connection can serve another call."""
        if not self.complete and self.failure is None:
            self._left = True
            self._take()
            self._line.allow_idle(END_SECONDS)

    # The connection's side.

    def begin(self, status: int, fields: Fields) -> None:
        self.status, self.fields = status, fields
        for name, value in fields:
            if len(name) != ENCODING_LETTERS or name.lower() != ENCODING:
                continue
            if value.lower() not in (b"", b"identity"):
                if value.lower() not in DECODED:
                    raise Failure(f"the reply is encoded as {value[:20]!r}, which nobody asked for")
                self._decoder = zlib.decompressobj(GZIP_OR_ZLIB)

    def add(self, piece: bytes) -> None:
        if self._decoder is not None:
            self._decoded, piece = True, self._decompressed(piece)
        self._came += len(piece)
        if self._came > MOST_BYTES:
            raise Failure(f"it is longer than {MOST_BYTES >> 20} MB")
        if not piece or (self._first is not None and self._is_awaited and self._first(piece)):
            return
        self._pieces.append(piece)
        self._waiting += len(piece)
        if self._left and self._waiting > END_BYTES:
            raise Failure("it goes on behind its end")

    def end(self) -> None:
        if self._decoder is not None and not self._decoder.eof and self._decoded:
            self.fail(Failure("the encoded reply was cut"))
        self.complete = self.failure is None

    def wake(self) -> None:
        """Once all that came at once was added."""
        if self._first is not None and not (self._pieces or self.complete or self.failure):
            return  # all of it was taken
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
        if self._paced and self._waiting > HIGH_WATER and not (self._paused or self.complete):
            self._paused = True
            self._line.pause()

    def fail(self, failure: BaseException) -> None:
        if not self.complete and self.failure is None:
            self.failure = failure
            self.wake()

    @property
    def _is_awaited(self) -> bool:
        """Somebody has read all that came before."""
        return self._waiter is not None and not self._waiter.done() and not self._pieces

    def _decompressed(self, piece: bytes) -> bytes:
        try:
            return self._decoder.decompress(piece)
        except zlib.error as error:
            raise Failure(f"the encoded reply cannot be read: {error}") from error

    def _take(self) -> bytes:
        pieces = self._pieces
        taken = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._pieces, self._waiting = [], 0
        if self._paused:
            self._let_flow()
        return taken

    def _let_flow(self) -> None:
        if self._paused:
            self._paused = False
            if not self.complete and self.failure is None:
                self._line.resume()
