"""Keys of a project: made, rotated and revoked; the secret is shown once."""

from collections.abc import Mapping
from typing import Any

from litestar import Response, get, post
from litestar.params import FromPath

from admin.console.api import ApiRefused, Json
from admin.console.page import CurrentPage, Filled, Page

DAY = 86_400


@get("/projects/{project_id:str}/keys")
async def list_keys(page: CurrentPage) -> Response[str]:
    return await _list(page)


@post("/projects/{project_id:str}/keys")
async def create_key(page: CurrentPage) -> Response[str]:
    """The secret is in the answer and nowhere else: the page is not to be kept."""
    form = await page.form()
    try:
        made = await page.api.post(_url(page), _wanted(form))
    except ApiRefused as refused:
        return await _list(page, form=form, error=refused)
    return _secret(page, made, "The key is made.")


@post("/projects/{project_id:str}/keys/{key_id:str}/rotate")
async def rotate_key(page: CurrentPage, key_id: FromPath[str]) -> Response[str]:
    form = await page.form()
    hours = float(form.get("overlap_hours") or 24)
    try:
        made = await page.api.post(_url(page, key_id, "rotate"), {"overlap_seconds": round(hours * 3600)})
    except ApiRefused as refused:
        return await _list(page, error=refused)
    return _secret(page, made, f"The key has a new secret; the old one works for {hours:g} more hours.")


@post("/projects/{project_id:str}/keys/{key_id:str}/revoke")
async def revoke_key(page: CurrentPage, key_id: FromPath[str]) -> Response[str]:
    await page.form()
    await page.api.delete(_url(page, key_id))
    return page.see_other(page.within("keys"), "The key is revoked: it is refused from now on.")


async def _list(page: Page, *, form: Mapping[str, Any] | None = None, error: ApiRefused | None = None) -> Response[str]:
    keys = await page.api.every(_url(page))
    status = error.status if error else 200
    return page.show("keys.html", status=status, keys=keys, values=Filled(form), error=error)


def _secret(page: Page, key: Json, done: str) -> Response[str]:
    answer = page.show("key_secret.html", key=key, done=done, base_url=f"{page.origin}/v1")
    answer.headers["cache-control"] = "no-store"
    return answer


def _wanted(form: Mapping[str, Any]) -> dict[str, Any]:
    """Of the API what was filled in; an empty field is the default."""
    days, models = form.get("expires_in_days"), form.get("allowed_models", "").replace(",", " ").split()
    wanted: dict[str, Any] = {"name": form.get("name") or None, "logging": form.get("logging") or "full"}
    if days:
        wanted["expires_in_seconds"] = round(float(days) * DAY)
    if models:
        wanted["allowed_models"] = models
    return wanted


def _url(page: Page, *parts: str) -> str:
    return "/".join([f"/organization/projects/{page.api.project_id}/api_keys", *parts])
