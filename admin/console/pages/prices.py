"""What models cost, and from when; and models that were called and have no price."""

import time
from collections.abc import Mapping
from typing import Any

from litestar import Response, get, post
from litestar.params import FromPath

from admin.console import entered
from admin.console.api import ApiRefused, Json, at_once, path_of
from admin.console.page import CurrentPage, Filled, Page

URL = "/console/prices"
MOST = 1000
"""Prices of which it is said whether they hold."""
OPTIONAL = ("cached_input", "per_request", "training", "training_hour")


@get("/prices")
async def list_prices(page: CurrentPage) -> Response[str]:
    return await _list(page)


@post("/prices")
async def create_price(page: CurrentPage) -> Response[str]:
    form = await page.form()
    try:
        made = await page.api.post("/prices", _wanted(form))
    except ApiRefused as refused:
        return await _list(page, form, entered.of_field(refused))
    return page.see_other(URL, f"The price of {made['model']} is there.")


@post("/prices/{price_id:str}/remove")
async def remove_price(page: CurrentPage, price_id: FromPath[str]) -> Response[str]:
    """One that has not begun."""
    await page.form()
    try:
        await page.api.delete(path_of("prices", price_id))
    except ApiRefused as refused:
        return await _list(page, error=refused)
    return page.see_other(URL, "The price is removed before it began.")


def status_of(prices: list[Json], moment: float) -> dict[str, str]:
    """Id of a price -> holds, begins, replaced. Args: prices: the last to begin first, as the API lists them."""
    found: dict[str, str] = {}
    holding: set[str] = set()
    for each in prices:
        begins = each["effective_at"] > moment
        found[each["id"]] = "begins" if begins else "replaced" if each["model"] in holding else "holds"
        if not begins:
            holding.add(each["model"])
    return found


def _wanted(form: Mapping[str, Any]) -> dict[str, Any]:
    wanted: dict[str, Any] = {"model": entered.text(form, "model")}
    wanted |= {name: entered.amount(form, name) for name in ("input", "output", *OPTIONAL)}
    wanted |= {
        "max_output_tokens": entered.whole(form, "max_output_tokens"),
        "effective_at": entered.utc(form, "effective_at"),
    }
    return wanted


async def _list(page: Page, form: Mapping[str, Any] | None = None, error: ApiRefused | None = None) -> Response[str]:
    model = page.query("model")
    every, unpriced = await at_once(page.api.every("/prices", most=MOST), page.api.get("/prices/unpriced"))
    status = status_of(every, time.time())
    shown = [each for each in every if _is_shown(each, status[each["id"]], model, history=bool(page.query("history")))]
    names = {each["id"]: each["name"] for each in page.projects}
    missing = [each | {"project": names.get(each["project_id"], each["project_id"])} for each in unpriced["data"]]
    return page.show(
        "prices.html",
        status=error.status if error else 200,
        prices=shown,
        how=status,
        is_cut=len(every) == MOST,
        missing=[each for each in missing if not each["priced_now"]],
        values=Filled(form if form else {"model": page.query("new")}),
        error=error,
    )


def _is_shown(price: Json, status: str, model: str, *, history: bool) -> bool:
    return (history or status != "replaced") and model.lower() in price["model"].lower()
