"""The people of the organisation, and invitations."""

from litestar import Response, get, post
from litestar.datastructures import FormMultiDict
from litestar.params import FromPath

from admin.console import entered
from admin.console.api import ApiRefused, Json, at_once, path_of
from admin.console.page import CurrentPage, Filled, Page

PEOPLE = "/console/people"
INVITES = "/organization/invites"
USERS = "/organization/users"
PAGE = 50
"""People."""
NEWEST = 100
"""Invitations looked through for those that are open."""
ROLES = {"reader": "Reader: sees everything", "owner": "Owner: may do everything"}
PROJECT_ROLES = {"member": "Member", "owner": "Owner of the project"}


@get("/people")
async def list_people(page: CurrentPage) -> Response[str]:
    return await _list(page)


@post("/people/invitations")
async def invite(page: CurrentPage) -> Response[str]:
    """The link is in the answer and nowhere else: the page is not to be kept."""
    form = await page.form()
    project, role = entered.text(form, "project"), entered.text(form, "project_role") or "member"
    wanted = {
        "email": entered.text(form, "email"),
        "role": entered.text(form, "role"),
        "projects": [{"id": project, "role": role}] if project else [],
    }
    try:
        made = await page.api.post(INVITES, wanted)
    except ApiRefused as refused:
        return await _list(page, form, entered.of_field(refused, projects="project"))
    answer = page.show("invitation.html", invite=made)
    answer.headers["cache-control"] = "no-store"
    return answer


@post("/people/invitations/{invite_id:str}/withdraw")
async def withdraw(page: CurrentPage, invite_id: FromPath[str]) -> Response[str]:
    await page.form()
    await page.api.delete(f"{INVITES}{path_of(invite_id)}")
    return page.see_other(PEOPLE, "The invitation is withdrawn: its link does nothing.")


async def _list(page: Page, form: FormMultiDict | None = None, error: ApiRefused | None = None) -> Response[str]:
    people, invites = await at_once(
        page.api.get(USERS, limit=PAGE, after=page.query("after"), **{"emails[]": page.query("address").strip()}),
        page.api.get(INVITES, limit=NEWEST, order="desc"),
    )
    return page.show(
        "people.html",
        status=error.status if error else 200,
        rows=people,
        invites=[each for each in invites["data"] if each["status"] != "accepted"],
        projects=[("", "None yet"), *((each["id"], each["name"]) for each in page.projects)],
        names=project_names(page),
        roles=ROLES.items(),
        project_roles=PROJECT_ROLES.items(),
        values=Filled(form),
        error=error,
    )


def project_names(page: Page) -> dict[str, Json]:
    return {each["id"]: each["name"] for each in page.projects}
