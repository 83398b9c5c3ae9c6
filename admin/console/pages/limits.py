"""Rate limits of a project or of one of its keys: of all models together, and of single ones."""

from collections.abc import Mapping
from typing import Any

from litestar import Response, get, post

from admin.console import entered
from admin.console.api import ApiRefused, at_once, path_of
from admin.console.key_bounds import EVERY_MODEL, LIMITS, limits
from admin.console.page import CurrentPage, Filled, Page
from admin.console.pages.key import limits_shown

MOST_KEYS = 500
PREFIX = "rl-"


@get("/projects/{project_id:str}/limits")
async def list_limits(page: CurrentPage) -> Response[str]:
    return await _list(page, page.query("api_key_id"))


@post("/projects/{project_id:str}/limits")
async def update_limits(page: CurrentPage) -> Response[str]:
    """Of the model that was chosen."""
    form = await page.form()
    key_id = entered.text(form, "api_key_id")
    url = _url(page) + path_of(_id(form))
    try:
        if entered.text(form, "what") == "reset":
            await page.api.delete(url, api_key_id=key_id)
        else:
            await page.api.post(url, limits(form), api_key_id=key_id)
    except ApiRefused as refused:
        return await _list(page, key_id, form, refused)
    listed = page.within("limits") + (f"?api_key_id={key_id}" if key_id else "")
    return page.see_other(listed, "The limits are in force.")


async def _list(
    page: Page, key_id: str, form: Mapping[str, Any] | None = None, error: ApiRefused | None = None
) -> Response[str]:
    rows, keys = await at_once(
        page.api.get(_url(page), limit=100, after=page.query("after"), api_key_id=key_id),
        page.api.every(f"/organization/projects/{page.api.project_id}/api_keys", most=MOST_KEYS),
    )
    is_first = not page.query("after")
    shown = [each for each in limits_shown(rows["data"]) if is_first or each["model"] != "*"]
    return page.show(
        "limits.html",
        status=error.status if error else 200,
        rows=rows,
        limited=shown,
        models=[(each["model"], "All together" if each["model"] == "*" else each["model"]) for each in rows["data"]],
        keys=[("", "The whole project"), *((each["id"], f"Key {each['name']}") for each in keys)],
        key_id=key_id,
        limits=LIMITS,
        values=Filled(form),
        error=error,
    )


def _id(form: Mapping[str, Any]) -> str:
    model = entered.text(form, "model")
    return f"{PREFIX}{model}" if model else EVERY_MODEL


def _url(page: Page) -> str:
    return f"/organization/projects/{page.api.project_id}/rate_limits"
