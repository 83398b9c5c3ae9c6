"""Events of a stream that are like one before them but for their text: most of them, and they are not taken apart.

gateway/exchanges/assemble.py reads an event, and this remembers how it is written. Whatever is written otherwise is read, too. A
token costs a fourth of what reading it does.
"""

import re
from typing import Any

import msgspec

LONGEST_BYTES = 4096
"""A longer event is read by itself: no token is as long, and patterns take memory for each escape in a text."""
_text = re.compile(rb'"delta": ?\{"(\w+)": ?"([^"\\]*(?:\\.[^"\\]*)*)"\}')
_number = rb'"\w+": ?(?:0|[1-9]\d{0,15})'
_usage = re.compile(rb'"usage": ?(\{%b(?:, ?%b)*\})\}\Z' % (_number, _number))
"""So far, as our engine writes it in every chunk; in numbers that nothing can fail to read."""
_decode = msgspec.json.decode


class Pieces(list[str]):
    """A text that is still coming."""


class TextRun:
    """The event that was read last, if it had a text and nothing else."""

    def __init__(self) -> None:
        self._pieces: Pieces | None = None
        """What it added to."""
        self._head = self._tail = b""
        """What is written before its text, and behind it, but for a usage."""
        self._has_usage = False
        self._usage: bytes | None = None
        """What those that were taken told last, a JSON object."""

    def begin(self, line: bytes, part: dict[str, Any], message: dict[str, Any]) -> None:
        """Remember an event that was just read.

        Args:
            part: the only one of its `choices`.
            message: what is gathered of that choice.
        """
        found = _text.search(line) if len(line) <= LONGEST_BYTES else None
        if found is None or line.count(b'"delta"') > 1 or "text" in part or isinstance(part.get("logprobs"), dict):
            return
        name = found[1].decode()
        pieces = message.get(name)
        if isinstance(pieces, Pieces) and part.get("delta") == {name: _decode(b'"%b"' % found[2])}:
            tail = line[found.end(2) :]
            usage = _usage.search(tail)
            self._head, self._tail = line[: found.start(2)], tail[: usage.start()] if usage else tail
            self._pieces, self._has_usage = pieces, usage is not None

    def end(self, body: dict[str, Any]) -> None:
        """Forget that event. Args: body: what is gathered; it is told the usage that the last of the others had."""
        self._pieces = None
        if self._usage is not None:
            body["usage"], self._usage = _decode(self._usage), None

    def take(self, line: bytes) -> bool:
        """Add the text of an event that is like the one that was read; False: it has to be read itself."""
        head = self._head
        if self._pieces is None or not line.startswith(head):
            return False
        end = line.find(b'"', len(head))
        text = line[len(head) : end]
        if b"\\" in text or not self._ends(line, end):
            return False
        try:
            said = text.decode()
        except UnicodeDecodeError:
            return False
        if not said.isprintable():  # no JSON has a bare control character
            return False
        self._pieces.append(said)
        return True

    def _ends(self, line: bytes, end: int) -> bool:
        if not self._has_usage:
            return line[end:] == self._tail
        if not line.startswith(self._tail, end) or (usage := _usage.match(line, end + len(self._tail))) is None:
            return False
        self._usage = usage[1]
        return True
