"""How things are: of everything, and of one project."""

from litestar import Response, get

from admin.console.page import CurrentPage


@get("/")
async def start(page: CurrentPage) -> Response[str]:
    """Who works in one project begins there."""
    own = page.user["projects"]["data"]
    is_one = len(own) == 1 and not page.owns_organization
    return page.see_other(f"/console/projects/{own[0]['id']}" if is_one else "/console/overview")


@get("/overview")
async def organization(page: CurrentPage) -> Response[str]:
    return page.show("overview.html")


@get("/projects/{project_id:str}")
async def project(page: CurrentPage) -> Response[str]:
    return page.show("overview.html")
