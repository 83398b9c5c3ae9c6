"""Projects."""

from litestar import Response, get, post

from admin.console.api import ApiRefused
from admin.console.page import CurrentPage, Filled, project_url


@get("/projects")
async def list_projects(page: CurrentPage) -> Response[str]:
    return page.show("projects.html", values=Filled(), error=None)


@post("/projects")
async def create_project(page: CurrentPage) -> Response[str]:
    form = await page.form()
    try:
        made = await page.api.post("/organization/projects", {"name": form.get("name", "")})
    except ApiRefused as refused:
        return page.show("projects.html", status=refused.status, values=Filled(form), error=refused)
    return page.see_other(project_url(made["id"], "keys"), f"The project {made['name']} is there.")
