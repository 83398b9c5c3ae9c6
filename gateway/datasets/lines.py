"""Lines of a JSONL file, one in memory at a time."""

from collections.abc import Iterator
from typing import BinaryIO

BOM = b"\xef\xbb\xbf"
MAX_LINE = 32 * 1024 * 1024
"""Bytes of one example; a longer line is not a JSONL file."""

FOREIGN = (
    ((b"\xff\xfe", b"\xfe\xff"), "the file is in UTF-16", "Save it as UTF-8 and upload it again."),
    ((b"\x1f\x8b", b"PK\x03\x04"), "the file is compressed", "Unpack it and upload the .jsonl file inside."),
    ((b"PAR1",), "the file is a Parquet table", "Turn it into a training file with POST /v1/datasets/import."),
)
"""First bytes of files that are no JSONL at all."""


def foreign(opening: bytes) -> tuple[str, str] | None:
    """What a file is that cannot be JSONL, and what to do with it; from its first bytes."""
    for signatures, what, fix in FOREIGN:
        if opening.startswith(signatures):
            return what, fix
    return None


def read_lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Number (from 1) and bytes of each line, without the byte order mark of the file.

    Of a line longer than MAX_LINE, the first MAX_LINE + 2 bytes; the rest is passed over.
    """
    number = 0
    while line := file.readline(MAX_LINE + 2):
        number += 1
        rest = line
        while len(line) > MAX_LINE and rest and not rest.endswith(b"\n"):
            rest = file.readline(MAX_LINE)
        yield number, line.removeprefix(BOM) if number == 1 else line
