"""Who holds parts of budgets: gateway processes and fine-tuning jobs; and the end of those that never give back."""

from litestar import Response, get, post
from litestar.params import FromPath

from admin.console.api import ApiRefused, path_of
from admin.console.page import CurrentPage, Page

URL = "/console/budgets/holders"


@get("/budgets/holders")
async def list_holders(page: CurrentPage) -> Response[str]:
    return await _list(page)


@post("/budgets/holders/{holder_id:str}/release")
async def release_holder(page: CurrentPage, holder_id: FromPath[str]) -> Response[str]:
    """Whoever may be alive is refused by the API, which says why."""
    await page.form()
    try:
        released = await page.api.post(path_of("budgets", "holders", holder_id, "release"))
    except ApiRefused as refused:
        return await _list(page, refused)
    return page.see_other(URL, f"Released: {released['unspent_usd']:.9g} dollars are free again.")


async def _list(page: Page, error: ApiRefused | None = None) -> Response[str]:
    rows = await page.api.get("/budgets/holders", limit=100, after=page.query("after"))
    return page.show("budget_holders.html", status=error.status if error else 200, rows=rows, error=error)
