"""A URL that no page has."""

from litestar import Response, get
from litestar.params import FromPath

from admin.console.api import ApiRefused
from admin.console.page import CurrentPage


@get("/{rest:path}")
async def unknown(page: CurrentPage, rest: FromPath[str]) -> Response[str]:
    raise ApiRefused(404, {"message": f"The console has no page {rest}."})
