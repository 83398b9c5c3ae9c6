"""OpenAI's list envelopes (contract section 0, "Pagination styles")."""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec


class Cursor(msgspec.Struct, frozen=True, kw_only=True):
    """Which page of a list: at most `limit` items behind the one with id `after`, or right before `before` (exclusive)."""

    limit: int
    after: str | None
    descending: bool
    before: str | None = None


class HasId(Protocol):
    id: str


class CursorList(msgspec.Struct, kw_only=True):
    """`first_id` and `last_id` are null when the page is empty."""

    object: str = "list"
    data: list[Any]
    first_id: str | None = None
    last_id: str | None = None
    has_more: bool = False


class ShortList(msgspec.Struct, kw_only=True):
    """Fine-tuning jobs and events leave the ids out."""

    object: str = "list"
    data: list[Any]
    has_more: bool = False


class Deleted(msgspec.Struct, kw_only=True):
    id: str
    object: str
    deleted: bool = True


def cursor_list(items: Sequence[HasId], *, has_more: bool) -> CursorList:
    return CursorList(
        data=list(items),
        first_id=items[0].id if items else None,
        last_id=items[-1].id if items else None,
        has_more=has_more,
    )
