"""Who belongs to a project."""

from litestar import Response, get, post
from litestar.datastructures import FormMultiDict
from litestar.params import FromPath

from admin.console import entered
from admin.console.api import ApiRefused, path_of
from admin.console.page import CurrentPage, Filled, Page
from admin.console.pages.people import PROJECT_ROLES

PAGE = 50


@get("/projects/{project_id:str}/people")
async def list_members(page: CurrentPage) -> Response[str]:
    return await _list(page)


@post("/projects/{project_id:str}/people")
async def add_member(page: CurrentPage) -> Response[str]:
    form = await page.form()
    wanted = {name: entered.text(form, name) for name in ("email", "role")}
    try:
        await page.api.post(_url(page), wanted)
    except ApiRefused as refused:
        return await _list(page, form, entered.of_field(refused, user_id="email"))
    return page.see_other(page.within("people"), f"{wanted['email']} belongs to the project now.")


@post("/projects/{project_id:str}/people/{user_id:str}/role")
async def change_role(page: CurrentPage, user_id: FromPath[str]) -> Response[str]:
    form = await page.form()
    await page.api.post(_url(page, user_id), {"role": entered.text(form, "role")})
    return page.see_other(page.within("people"), "The role holds now; the person's sessions are over.")


@post("/projects/{project_id:str}/people/{user_id:str}/remove")
async def remove_member(page: CurrentPage, user_id: FromPath[str]) -> Response[str]:
    await page.form()
    await page.api.delete(_url(page, user_id))
    return page.see_other(
        page.within("people"), "The person has left the project; the keys they had in it are refused."
    )


async def _list(page: Page, form: FormMultiDict | None = None, error: ApiRefused | None = None) -> Response[str]:
    rows = await page.api.get(_url(page), limit=PAGE, after=page.query("after"))
    return page.show(
        "project_people.html",
        status=error.status if error else 200,
        rows=rows,
        roles=PROJECT_ROLES.items(),
        values=Filled(form),
        error=error,
    )


def _url(page: Page, *parts: str) -> str:
    return f"/organization/projects{path_of(page.api.project_id or '', 'users', *parts)}"
