"""Pages of a list that lies in memory, because some of it is in no table."""

from collections.abc import Sequence

from gateway.errors import InvalidRequest
from gateway.protocol.lists import Cursor, CursorList, HasId, cursor_list


def page_of(every: Sequence[HasId], wanted: Cursor) -> CursorList:
    """One page of `every`, which is in ascending order. Raises InvalidRequest: nothing in it has the id `after`."""
    ordered = every[::-1] if wanted.descending else every
    begin = 0
    if wanted.after is not None:
        begin = next((place for place, each in enumerate(ordered, 1) if each.id == wanted.after), 0)
        if not begin:
            raise InvalidRequest(f"Invalid 'after': no object with id '{wanted.after}' is in this list.", param="after")
    shown = ordered[begin : begin + wanted.limit]
    return cursor_list(shown, has_more=begin + wanted.limit < len(ordered))
