"""How the body of a call is kept in a column: a short one as it came, others compressed, a large one as a blob.

    neither mark                           the body itself, as all were kept once
    COMPRESSED | size (4 bytes) | frame    zstd
    MOVED      | size (4 bytes) | key      a blob has it, in one of the forms above (gateway/exchanges/bodies.py)

The size is the body's own, big-endian, so that statements can bound what they read without unpacking it. A body that begins
with a mark is always compressed: whatever was sent comes back to the byte.

No SQLAlchemy here: the process that writes the log has none.
"""

import logging
import struct
import threading

import zstandard

log = logging.getLogger(__name__)

COMPRESSED, MOVED = b"\x00tz1", b"\x00tb1"
"""No JSON begins like this."""
MARKS = (COMPRESSED, MOVED)
HEAD = struct.Struct(">4sI")
SHORT_BYTES = 1024
"""Shorter ones are kept as they came: little is won, and there are many."""
LEVEL = 1
"""Half the time of 3, for some two percent more room."""
MOST_BYTES = 2**30
"""As much as PostgreSQL keeps in one value; nothing claims to be more when it is unpacked."""

_own = threading.local()
"""A compressor belongs to one thread at a time."""


class MovedBody(bytes):
    """In the place of a body that a blob has: empty, until gateway/db/large_bodies.py brings it."""

    key: str
    size: int

    @classmethod
    def named(cls, key: str, size: int) -> "MovedBody":
        empty = cls()
        empty.key, empty.size = key, size
        return empty

    @property
    def stored(self) -> bytes:
        return HEAD.pack(MOVED, self.size) + self.key.encode()


def pack(body: bytes) -> bytes:
    """As it is kept; about 5 us for 2 kB."""
    is_marked = body.startswith(MARKS)
    if len(body) < SHORT_BYTES and not is_marked:
        return body
    packed = HEAD.pack(COMPRESSED, len(body)) + _compressor().compress(body)
    return packed if is_marked or len(packed) < len(body) else body


def unpack(kept: bytes) -> bytes:
    """The body; a MovedBody where a blob has it. Empty, and an error of the log, where it was damaged."""
    if not kept.startswith(MARKS):
        return kept
    mark, size = HEAD.unpack_from(kept)
    if mark == MOVED:
        return MovedBody.named(kept[HEAD.size :].decode(), size)
    try:
        return _decompressed(kept[HEAD.size :], size)
    except (zstandard.ZstdError, ValueError) as error:
        log.error("a body of the log cannot be read: %s", error)
        return b""


def _decompressed(frame: bytes, size: int) -> bytes:
    """Raises ValueError: it is not what it says, or would be larger than any body."""
    told = zstandard.frame_content_size(frame)
    if told != size or size > MOST_BYTES:
        raise ValueError(f"{told} bytes where {size} are expected, at most {MOST_BYTES}")
    return _decompressor().decompress(frame)


def _compressor() -> zstandard.ZstdCompressor:
    if not hasattr(_own, "compressor"):
        _own.compressor = zstandard.ZstdCompressor(level=LEVEL)
    return _own.compressor


def _decompressor() -> zstandard.ZstdDecompressor:
    if not hasattr(_own, "decompressor"):
        _own.decompressor = zstandard.ZstdDecompressor()
    return _own.decompressor
