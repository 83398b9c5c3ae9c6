"""The log of a project's calls: a table that stays fast, its filters in the URL and under names."""

from typing import Any
from urllib.parse import urlencode

from litestar import Response, get, post
from litestar.params import FromPath

from admin.console import exchange_filters
from admin.console.api import ApiRefused, Json, at_once, path_of
from admin.console.page import CurrentPage, Filled, Page

ROWS = 50
LOOKED_AT = 20_000
"""Exchanges on one page's account; there is a link to look further."""
MOST_NEW = 100
NOTHING: Json = {"data": [], "has_more": False, "first_id": None, "last_id": None, "continue_from": None}
VIEWS = "/saved_views"
PAGE = "exchanges"


@get("/projects/{project_id:str}/exchanges")
async def list_exchanges(page: CurrentPage) -> Response[str]:
    return await _list(page)


@get("/projects/{project_id:str}/exchanges/new")
async def count_new(page: CurrentPage) -> Response[str]:
    """A fragment: how many came since the page was made."""
    filters = _filters(page)
    since = page.query("since")
    edge = {"before": since} if since else {}
    found = await page.api.get(
        "/exchanges", **exchange_filters.asked(filters), **edge, limit=MOST_NEW, scan_limit=LOOKED_AT
    )
    url = _url(page, filters)
    return page.show("exchanges_new.html", count=len(found["data"]), is_more=found["has_more"], url=url)


@post("/projects/{project_id:str}/exchanges/views")
async def save_view(page: CurrentPage) -> Response[str]:
    """The filters come with the form, as the page's own URL had them."""
    form = await page.form()
    filters = exchange_filters.of_url({name: value for name, value in form.items() if isinstance(value, str)})
    try:
        made = await page.api.post(VIEWS, {"page": PAGE, "name": form.get("view_name", ""), "query": filters})
    except ApiRefused as refused:
        return await _list(page, filters=filters, view_name=form.get("view_name", ""), error=refused)
    return page.see_other(_url(page, filters), f"The view {made['name']} is saved, for everybody in the project.")


@post("/projects/{project_id:str}/exchanges/views/{view_id:str}")
async def rename_view(page: CurrentPage, view_id: FromPath[str]) -> Response[str]:
    form = await page.form()
    try:
        view = await page.api.post(f"{VIEWS}{path_of(view_id)}", {"name": form.get("name", "")})
    except ApiRefused as refused:
        return await _list(page, filters={}, error=refused)
    filters = exchange_filters.shown_filters(view["query"])
    return page.see_other(_url(page, filters), f"The view is called {view['name']} now.")


@post("/projects/{project_id:str}/exchanges/views/{view_id:str}/delete")
async def delete_view(page: CurrentPage, view_id: FromPath[str]) -> Response[str]:
    await page.form()
    await page.api.delete(f"{VIEWS}{path_of(view_id)}")
    return page.see_other(page.within(PAGE), "The view is deleted.")


async def _list(
    page: Page,
    *,
    filters: dict[str, str] | None = None,
    view_name: str = "",
    error: ApiRefused | None = None,
) -> Response[str]:
    filters = _filters(page) if filters is None else filters
    views, models, found = await at_once(
        page.api.every(VIEWS, page=PAGE), page.api.get("/models"), _found(page, filters) if not error else _nothing()
    )
    rows, refused = found if not error else (NOTHING, error)
    return page.show(
        "exchanges.html",
        status=refused.status if refused else 200,
        rows=rows,
        error=refused,
        values=Filled(filters),
        filters=filters,
        chips=[(chip, _url(page, {k: v for k, v in filters.items() if k != chip.name})) for chip in _chips(filters)],
        choices=exchange_filters.choices,
        views=[_view(page, each, filters) for each in views],
        view_name=view_name,
        models=[each["id"] for each in models["data"]],
        pager=_pager(page, rows, filters),
        query=urlencode(filters),
    )


async def _found(page: Page, filters: dict[str, str]) -> tuple[Json, ApiRefused | None]:
    """What the API lists; nothing, and why, when a filter is wrong."""
    edges = {"after": page.query("after"), "before": page.query("before")}
    bounds = {"limit": ROWS, "scan_limit": LOOKED_AT, "include": "preview"}
    try:
        return await page.api.get("/exchanges", **exchange_filters.asked(filters), **edges, **bounds), None
    except ApiRefused as refused:
        return NOTHING, refused


async def _nothing() -> None:
    return None


def _pager(page: Page, rows: Json, filters: dict[str, str]) -> dict[str, Any]:
    """URLs of the pages beside this one, and how far back was looked where that is not to the end."""
    is_back = bool(page.query("before")) and not page.query("after")
    looked_until = rows["continue_from"]
    has_newer = bool(page.query("after")) or (is_back and rows["has_more"])
    has_older = rows["has_more"] or bool(page.query("before")) if not is_back else True
    newer = (looked_until if is_back else None) or rows["first_id"] or page.query("after")
    older = (looked_until if not is_back else None) or rows["last_id"] or page.query("before")
    return {
        "is_first": not page.query("after") and not page.query("before"),
        "first": _url(page, filters),
        "newer": _url(page, filters | {"before": newer}) if has_newer and newer else None,
        "older": _url(page, filters | {"after": older}) if has_older and older else None,
        "looked_until": exchange_filters.began_at(looked_until),
        "looked_at": LOOKED_AT,
    }


def _view(page: Page, view: Json, filters: dict[str, str]) -> dict[str, Any]:
    own = exchange_filters.shown_filters(view["query"])
    return {"id": view["id"], "name": view["name"], "url": _url(page, own), "here": own == filters}


def _filters(page: Page) -> dict[str, str]:
    return exchange_filters.of_url(dict(page.request.query_params.items()))


def _chips(filters: dict[str, str]) -> list[exchange_filters.Chip]:
    return list(exchange_filters.chips(filters))


def _url(page: Page, query: dict[str, str]) -> str:
    return page.within(PAGE) + (f"?{urlencode(query)}" if query else "")
