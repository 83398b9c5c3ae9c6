"""The time buckets of a usage report, and the cursor from one page of them to the next.

Buckets are aligned to UTC: whole minutes, whole hours, midnights. The first and the last one are cut to the asked range,
so that every count is of exactly the time that its bucket names.
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from gateway.errors import InvalidRequest

PREFIX = "page_"
SECONDS = {"1m": 60, "1h": 3600, "1d": 86400}
"""Bucket widths by their name on the wire."""


@dataclass(frozen=True, slots=True)
class Buckets:
    """What one page shows: the time from `start` to `end` (Unix seconds, exclusive), cut at each multiple of `width`."""

    start: int
    end: int
    width: int

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Start and end of each bucket, oldest first."""
        start = self.start
        while start < self.end:
            end = min(self.aligned(start) + self.width, self.end)
            yield start, end
            start = end

    def aligned(self, moment: int) -> int:
        """When the uncut bucket around `moment` starts."""
        return moment - moment % self.width

    def first(self, count: int) -> "Buckets":
        """At most the first `count` of them."""
        return Buckets(self.start, min(self.aligned(self.start) + count * self.width, self.end), self.width)


class _Cursor(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    start: int
    end: int
    query: str
    """A digest of the query that the page belongs to."""


def encode_page(following: Buckets, query: str) -> str:
    """A cursor that says where the next page starts and where the last one ends."""
    raw = msgspec.json.encode(_Cursor(following.start, following.end, query))
    return PREFIX + base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode_page(page: str, whole: Buckets, query: str) -> Buckets:
    """What is left of `whole` at the cursor `page`; its end is the cursor's, which stays while "now" moves on.

    Raises:
        InvalidRequest: it was not made by `encode_page`, or for another query.
    """
    cursor = _decode(page)
    if cursor is not None and cursor.query != query:
        raise InvalidRequest(
            "Invalid 'page': it belongs to another query. Send it with the parameters of the first page.", param="page"
        )
    if cursor is None or cursor.start <= whole.start or cursor.start >= cursor.end or cursor.start % whole.width:
        raise InvalidRequest("Invalid 'page': it is not the next_page of an earlier answer.", param="page")
    return Buckets(cursor.start, cursor.end, whole.width)


def _decode(page: str) -> _Cursor | None:
    raw = page.removeprefix(PREFIX)
    try:
        return msgspec.json.decode(base64.b64decode(raw + "=" * (-len(raw) % 4), b"-_", validate=True), type=_Cursor)
    except (ValueError, RecursionError):
        return None
