"""Pages of a list that lies in memory, because some of it is in no table."""

from collections.abc import Sequence

from gateway.errors import InvalidRequest
from gateway.protocol.lists import Cursor, CursorList, HasId, cursor_list


def page_of(every: Sequence[HasId], wanted: Cursor) -> CursorList:
    """What is behind `after`, or right in front of `before`, of `every`, which is in ascending order.

    Raises InvalidRequest: nothing in it has that id.
    """
    ordered = every[::-1] if wanted.descending else every
    ids = [each.id for each in ordered]
    for name, id in (("after", wanted.after), ("before", wanted.before)):
        if id is not None and id not in ids:
            raise InvalidRequest(f"Invalid '{name}': no object with id '{id}' is in this list.", param=name)
    first = ids.index(wanted.after) + 1 if wanted.after else 0
    last = ids.index(wanted.before) if wanted.before else len(ids)
    found = ordered[first:last]
    shown = found[-wanted.limit :] if wanted.before and not wanted.after else found[: wanted.limit]
    return cursor_list(shown, has_more=len(found) > wanted.limit)
