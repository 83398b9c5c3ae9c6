"""What the web framework refuses by itself, as refusals of ours: 404, 405, 413, a bad form."""

from litestar.exceptions import HTTPException

from gateway.errors import (
    ECHO_LIMIT,
    ClientLeft,
    ContentTooLarge,
    InvalidRequest,
    MethodNotAllowed,
    Refusal,
    Surprise,
    UnknownUrl,
    refusal_of,
)

LEFT = "client disconnected prematurely"
"""How the framework says, as an error of its own, that a client left in the middle of a JSON body."""


def refusal_behind(error: BaseException, *, method: str = "", path: str = "") -> Refusal:
    """The refusal that an error amounts to, whoever raised it; a Surprise where nobody meant it."""
    if not isinstance(error, HTTPException):
        return refusal_of(error)
    if error.detail == LEFT:
        return ClientLeft()
    match error.status_code:
        case 404:
            return UnknownUrl(method, path)
        case 405:
            return MethodNotAllowed(method, path)
        case 413:
            return ContentTooLarge("The request body is larger than this endpoint takes.")
        case status if status < 500:
            return InvalidRequest(str(error.detail)[:ECHO_LIMIT])
        case _:
            return Surprise()
