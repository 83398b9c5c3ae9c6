"""What a call wants of the cache: the header `x-tuneway-cache`, else HTTP's own `cache-control` (RFC 9111, section 5.2.1)."""

from collections.abc import Iterable
from enum import Enum

from gateway.errors import ECHO_LIMIT, InvalidRequest

HEADER = b"x-tuneway-cache"
CONTROL = b"cache-control"


class Wish(Enum):
    USUAL = "usual"
    """Nothing was said: what the model or the route is set to."""
    ON = "on"
    """Also where its answer would differ from call to call."""
    OFF = "off"
    """Neither read nor kept."""
    REFRESH = "refresh"
    """Asked anew, and kept in the place of what was there."""


_DIRECTIVES = {"no-store": Wish.OFF, "no-cache": Wish.REFRESH, "max-age=0": Wish.REFRESH}


def wish_of(headers: Iterable[tuple[bytes, bytes]]) -> Wish:
    """Raises InvalidRequest: `x-tuneway-cache` is none of its values."""
    control = Wish.USUAL
    for name, value in headers:
        if name == HEADER:
            return _named(value)
        if name == CONTROL:
            control = _of_directives(value)
    return control


def _named(value: bytes) -> Wish:
    word = value.decode("latin-1").strip().lower()
    if word not in (Wish.ON.value, Wish.OFF.value, Wish.REFRESH.value):
        shown = value.decode("latin-1")[:ECHO_LIMIT]
        raise InvalidRequest(
            f"Invalid header 'x-tuneway-cache': expected on, off or refresh, not '{shown}'.", param="x-tuneway-cache"
        )
    return Wish(word)


def _of_directives(value: bytes) -> Wish:
    """`no-store` is the stronger; what is unknown is left alone, as HTTP says."""
    said = {each.strip() for each in value.decode("latin-1").lower().split(",")}
    return next((wish for word, wish in _DIRECTIVES.items() if word in said), Wish.USUAL)
