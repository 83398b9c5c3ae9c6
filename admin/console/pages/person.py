"""One person: name, role, projects; help for whoever cannot sign in any more; the end."""

import secrets

from litestar import Response, get, post
from litestar.params import FromPath

from admin.console import entered
from admin.console.api import ApiRefused, path_of
from admin.console.page import CurrentPage, Page
from admin.console.pages.people import PEOPLE, PROJECT_ROLES, ROLES, USERS

PASSWORD_BYTES = 15
"""20 letters and digits."""


@get("/people/{user_id:str}")
async def show_person(page: CurrentPage, user_id: FromPath[str]) -> Response[str]:
    return await _one(page, user_id)


@post("/people/{user_id:str}")
async def update_person(page: CurrentPage, user_id: FromPath[str]) -> Response[str]:
    """Only what differs: a role that is set again would be in the audit log as a change."""
    form = await page.form()
    before = await page.api.get(_url(user_id))
    wanted = {name: entered.text(form, name) for name in ("name", "role")}
    changes = {name: value for name, value in wanted.items() if value != before[name]}
    try:
        await page.api.post(_url(user_id), changes)
    except ApiRefused as refused:
        return await _one(page, user_id, refused)
    over = " The role holds now; the person's sessions are over." if "role" in changes else ""
    return page.see_other(_page(user_id), f"The person is changed.{over}")


@post("/people/{user_id:str}/password")
async def reset_password(page: CurrentPage, user_id: FromPath[str]) -> Response[str]:
    """A new one that we make up, shown once: nobody chooses passwords for others."""
    await page.form()
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    person = await page.api.post(f"{_url(user_id)}/password", {"password": password})
    answer = page.show("person_password.html", person=person, password=password)
    answer.headers["cache-control"] = "no-store"
    return answer


@post("/people/{user_id:str}/totp")
async def reset_totp(page: CurrentPage, user_id: FromPath[str]) -> Response[str]:
    await page.form()
    await page.api.delete(f"{_url(user_id)}/totp")
    return page.see_other(_page(user_id), "The authenticator is off; the person's sessions are over.")


@post("/people/{user_id:str}/projects")
async def join_project(page: CurrentPage, user_id: FromPath[str]) -> Response[str]:
    form = await page.form()
    project_id = entered.text(form, "project")
    wanted = {"user_id": user_id, "role": entered.text(form, "project_role")}
    try:
        await page.api.post(f"/organization/projects{path_of(project_id)}/users", wanted)
    except ApiRefused as refused:
        return await _one(page, user_id, refused)
    return page.see_other(_page(user_id), "The person belongs to the project now.")


@post("/people/{user_id:str}/remove")
async def remove_person(page: CurrentPage, user_id: FromPath[str]) -> Response[str]:
    await page.form()
    try:
        await page.api.delete(_url(user_id))
    except ApiRefused as refused:
        return await _one(page, user_id, refused)
    return page.see_other(PEOPLE, "The person is removed: sessions are over, keys are refused.")


async def _one(page: Page, user_id: str, error: ApiRefused | None = None) -> Response[str]:
    person = await page.api.get(_url(user_id))
    joined = {each["id"] for each in person["projects"]["data"]}
    return page.show(
        "person.html",
        status=error.status if error else 200,
        person=person,
        others=[(each["id"], each["name"]) for each in page.projects if each["id"] not in joined],
        roles=ROLES.items(),
        project_roles=PROJECT_ROLES.items(),
        error=error,
    )


def _url(user_id: str) -> str:
    return f"{USERS}{path_of(user_id)}"


def _page(user_id: str) -> str:
    return f"{PEOPLE}{path_of(user_id)}"
