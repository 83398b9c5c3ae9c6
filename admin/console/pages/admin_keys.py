"""Keys of the Administration API: listed, made, revoked."""

import time

from litestar import Response, get, post
from litestar.datastructures import FormMultiDict
from litestar.params import FromPath

from admin.console import entered
from admin.console.api import ApiRefused, path_of
from admin.console.page import CurrentPage, Filled, Page

ADMIN_KEYS = "/console/admin-keys"
API = "/organization/admin_api_keys"
PAGE = 50
ROLES = {"reader": "Reader: sees everything", "owner": "Owner: may do everything"}


@get("/admin-keys")
async def list_keys(page: CurrentPage) -> Response[str]:
    return await _list(page)


@post("/admin-keys")
async def create_key(page: CurrentPage) -> Response[str]:
    """The secret is in the answer and nowhere else: the page is not to be kept."""
    form = await page.form()
    try:
        seconds = entered.days(form, "expires_in_days")
        wanted = {"name": entered.text(form, "name"), "role": entered.text(form, "role")}
        made = await page.api.post(API, wanted | ({} if seconds is None else {"expires_in_seconds": seconds}))
    except ApiRefused as refused:
        return await _list(page, form, entered.of_field(refused, expires_in_seconds="expires_in_days"))
    answer = page.show("admin_key_secret.html", key=made, base_url=f"{page.origin}/v1")
    answer.headers["cache-control"] = "no-store"
    return answer


@post("/admin-keys/{key_id:str}/revoke")
async def revoke_key(page: CurrentPage, key_id: FromPath[str]) -> Response[str]:
    await page.form()
    try:
        await page.api.delete(f"{API}{path_of(key_id)}")
    except ApiRefused as refused:
        return await _list(page, error=refused)
    return page.see_other(ADMIN_KEYS, "The key is revoked: it is refused from now on.")


async def _list(page: Page, form: FormMultiDict | None = None, error: ApiRefused | None = None) -> Response[str]:
    rows = await page.api.get(API, limit=PAGE, order="desc", after=page.query("after"))
    return page.show(
        "admin_keys.html",
        status=error.status if error else 200,
        rows=rows,
        roles=ROLES.items(),
        now=time.time(),
        values=Filled(form),
        error=error,
    )
