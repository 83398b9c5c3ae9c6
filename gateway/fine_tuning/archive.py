"""A directory as an uncompressed tar, written while it is sent: nothing is copied, nothing is held in memory.

Format: POSIX tar with GNU's extension for sizes beyond 8 GiB (https://www.gnu.org/software/tar/manual/html_node/Standard.html).
"""

import asyncio
import tarfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from trainer.contract import PROBE

BLOCK = 512
END = bytes(2 * BLOCK)
PIECE = 1024 * 1024


class Archive:
    """Files of a directory, and texts made for it, under one folder. The probe stays here: it is a piece of the training
    file."""

    def __init__(self, folder: str, directory: Path, texts: Mapping[str, bytes], *, created: int) -> None:
        """Texts come first and replace files of the same name. Raises OSError when the directory cannot be read."""
        self._folder = folder
        self._texts = dict(texts)
        left_out = {*texts, PROBE}
        self._files = [path for path in sorted(directory.iterdir()) if path.is_file() and path.name not in left_out]
        self._created = created

    @property
    def size(self) -> int:
        """Bytes of the whole archive."""
        contents = [len(text) for text in self._texts.values()] + [path.stat().st_size for path in self._files]
        names = [*self._texts, *(path.name for path in self._files)]
        headers = sum(len(self._header(name, size)) for name, size in zip(names, contents, strict=True))
        return headers + sum(size + _padding(size) for size in contents) + len(END)

    async def pieces(self) -> AsyncGenerator[bytes]:
        """Every file is open before the first byte is given: one that is deleted meanwhile is sent all the same."""
        with ExitStack() as opened:
            files = [(path.name, opened.enter_context(path.open("rb"))) for path in self._files]
            yield b"".join(self._member(name, text) for name, text in self._texts.items())
            for name, file in files:
                size = file.seek(0, 2)
                file.seek(0)
                yield self._header(name, size)
                while piece := await asyncio.to_thread(_read, file):
                    yield piece
                yield bytes(_padding(size))
            yield END

    def _member(self, name: str, content: bytes) -> bytes:
        return self._header(name, len(content)) + content + bytes(_padding(len(content)))

    def _header(self, name: str, size: int) -> bytes:
        member = tarfile.TarInfo(f"{self._folder}/{name}")
        member.size, member.mtime, member.mode = size, self._created, 0o644
        return member.tobuf(tarfile.GNU_FORMAT)


def _read(file: BinaryIO) -> bytes:
    return file.read(PIECE)


def _padding(size: int) -> int:
    return -size % BLOCK
