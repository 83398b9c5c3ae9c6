"""Query parameters: limits checked, and both spellings of arrays and maps understood (contract section 0)."""

from collections.abc import Sequence
from typing import Literal

from litestar.params import QueryParams

from gateway.errors import InvalidRequest
from gateway.protocol.lists import Cursor
from gateway.protocol.moments import LAST_SECOND


def text(query: QueryParams, name: str) -> str | None:
    return query.get(name, None) or None


def integer(query: QueryParams, name: str, *, default: int, lowest: int = 1, highest: int = 100) -> int:
    """A whole number within bounds. Raises InvalidRequest as OpenAI words it."""
    raw = query.get(name, None)
    if raw is None:
        return default
    try:
        value = int(raw)
    except ValueError:
        raise InvalidRequest(f"Invalid '{name}': expected an integer, got '{raw[:50]}'.", param=name) from None
    if value < lowest:
        raise _outside(name, f"minimum value >= {lowest}", value, "integer_below_min_value")
    if value > highest:
        raise _outside(name, f"maximum value <= {highest}", value, "integer_above_max_value")
    return value


def cursor(
    query: QueryParams, *, limit: int = 20, lowest: int = 1, highest: int = 100, order: Literal["asc", "desc"] = "desc"
) -> Cursor:
    """`after`, `before`, `limit` and `order` of a list; the arguments are the defaults of its endpoint."""
    return Cursor(
        limit=integer(query, "limit", default=limit, lowest=lowest, highest=highest),
        after=text(query, "after"),
        before=text(query, "before"),
        descending=choice(query, "order", ("asc", "desc"), order) == "desc",
    )


def timestamp(query: QueryParams, name: str) -> int | None:
    """Unix seconds, or None when left out."""
    return integer(query, name, default=0, lowest=0, highest=LAST_SECOND) if query.get(name, None) else None


def choice(query: QueryParams, name: str, allowed: Sequence[str], default: str) -> str:
    value = query.get(name, None) or default
    if value not in allowed:
        raise InvalidRequest(f"Invalid '{name}': '{value[:50]}' is not one of {', '.join(allowed)}.", param=name)
    return value


def flag(query: QueryParams, name: str) -> bool:
    return choice(query, name, ("true", "false"), "false") == "true"


def array(query: QueryParams, name: str) -> list[str]:
    """`name=a&name=b` and `name[]=a&name[]=b`."""
    return [*query.getall(name, []), *query.getall(f"{name}[]", [])]


def mapping(query: QueryParams, name: str) -> dict[str, str]:
    """`name[key]=value` for any keys."""
    opening = f"{name}["
    return {key[len(opening) : -1]: query[key] for key in query if key.startswith(opening) and key.endswith("]")}


def _outside(name: str, rule: str, value: int, code: str) -> InvalidRequest:
    return InvalidRequest(
        f"Invalid '{name}': integer out of range. Expected a {rule}, but got {value}.", param=name, code=code
    )
