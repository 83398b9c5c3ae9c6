"""Whatever goes wrong, a page says so: what happened, and where to go on."""

import logging
from typing import Any

from litestar import Request, Response
from litestar.types import ExceptionHandlersMap

from admin.console.api import ApiRefused
from admin.console.page import HTML, GoTo
from admin.console.render import rendered
from admin.console.security import HEADERS
from gateway.errors import Surprise, to_openai_error
from gateway.framework_errors import refusal_behind

log = logging.getLogger(__name__)

TITLES = {
    401: "Please sign in",
    403: "This is not yours to do",
    404: "There is nothing here",
    429: "Too many tries",
    503: "The gateway cannot do this now",
}


def error_page(request: Request[Any, Any, Any], status: int, message: str) -> Response[str]:
    title = TITLES.get(status, "This did not work")
    text = rendered("error.html", {"title": title, "status": status, "message": message})
    return Response(text, status_code=status, media_type=HTML, headers=HEADERS)


def _go(request: Request[Any, Any, Any], error: GoTo) -> Response[str]:
    if request.headers.get("hx-request") == "true":
        return Response("", status_code=200, headers={"hx-redirect": error.url})
    return Response("", status_code=303, headers={"location": error.url})


def _refused(request: Request[Any, Any, Any], error: ApiRefused) -> Response[str]:
    return error_page(request, error.status, str(error))


def _surprise(request: Request[Any, Any, Any], error: Exception) -> Response[str]:
    """Also what the framework itself refuses: a method that a page does not have, a form that is too large."""
    refusal = refusal_behind(error, method=request.method, path=request.url.path)
    if isinstance(refusal, Surprise):
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return error_page(request, to_openai_error(refusal)[0], str(refusal))


EXCEPTIONS: ExceptionHandlersMap = {GoTo: _go, ApiRefused: _refused, Exception: _surprise}
