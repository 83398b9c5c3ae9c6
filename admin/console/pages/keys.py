"""Keys of a project: made, rotated and revoked; the secret is shown once."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from litestar import Response, get, post
from litestar.datastructures import FormMultiDict
from litestar.params import FromPath

from admin.console import entered
from admin.console.api import ApiRefused, Json, at_once
from admin.console.budget_lines import PERIODS, BudgetLine, lines_of
from admin.console.forecasts import fullest
from admin.console.key_bounds import LIMITS, NotTakenBack, bind
from admin.console.key_rights import LOGGING, chosen_scopes, rights, scope_groups
from admin.console.page import CurrentPage, Filled, Page

PAGE = 100
"""Keys."""
MOST_DAYS = 31


@get("/projects/{project_id:str}/keys")
async def list_keys(page: CurrentPage) -> Response[str]:
    return await _list(page)


@post("/projects/{project_id:str}/keys")
async def create_key(page: CurrentPage) -> Response[str]:
    """The secret is in the answer and nowhere else: the page is not to be kept."""
    form = await page.form()
    warning = ""
    try:
        made = await page.api.post(key_url(page), rights(form, is_new=True))
        try:
            await bind(page.api, made, form)
        except NotTakenBack as failure:
            warning = str(failure)
    except ApiRefused as refused:
        return await _list(page, form=form, error=entered.of_field(refused, expires_in_seconds="expires_in_days"))
    return secret_page(page, made, "The key is made.", warning)


@post("/projects/{project_id:str}/keys/{key_id:str}/rotate")
async def rotate_key(page: CurrentPage, key_id: FromPath[str]) -> Response[str]:
    form = await page.form()
    seconds = entered.whole(form, "overlap_seconds")
    overlap = {} if seconds is None else {"overlap_seconds": seconds}
    try:
        made = await page.api.post(key_url(page, key_id, "rotate"), overlap)
    except ApiRefused as refused:
        return await _list(page, error=refused)
    return secret_page(page, made, "The key has a new secret.")


@post("/projects/{project_id:str}/keys/{key_id:str}/revoke")
async def revoke_key(page: CurrentPage, key_id: FromPath[str]) -> Response[str]:
    await page.form()
    await page.api.delete(key_url(page, key_id))
    return page.see_other(page.within("keys"), "The key is revoked: it is refused from now on.")


def key_url(page: Page, *parts: str) -> str:
    return "/".join([f"/organization/projects/{page.api.project_id}/api_keys", *parts])


def secret_page(page: Page, key: Json, done: str, warning: str = "") -> Response[str]:
    answer = page.show("key_secret.html", key=key, done=done, warning=warning, base_url=f"{page.origin}/v1")
    answer.headers["cache-control"] = "no-store"
    return answer


def tiers(page: Page) -> list[tuple[str, str]]:
    """Classes of rate limits, for a choice; only an owner of the organisation chooses one."""
    names = [each.name for each in page.request.app.state.settings.tiers]
    return [("", "The project's"), *((name, name) for name in names)] if names and page.owns_organization else []


def month_start() -> int:
    return round(datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp())


async def spend_of_month(page: Page, key_ids: list[str] | None = None) -> dict[str, float]:
    """Dollars of this month (UTC) by key. Args: key_ids: None is all of the project."""
    query: dict[str, Any] = {"project_ids[]": page.api.project_id, "group_by[]": "api_key_id", "limit": MOST_DAYS}
    if key_ids is not None:
        query["api_key_ids[]"] = key_ids
    report = await page.api.get("/organization/costs", start_time=month_start(), **query)
    spent: dict[str, float] = {}
    for each in (result for bucket in report["data"] for result in bucket["results"]):
        spent[each["api_key_id"]] = spent.get(each["api_key_id"], 0.0) + each["amount"]["value"]
    return spent


async def budgets_of(page: Page, key_ids: list[str]) -> dict[str, BudgetLine]:
    """By key, the one of its own that is fullest."""
    found: dict[str, list[Json]] = {}
    for each in await page.api.every("/budgets", most=5 * PAGE, **{"api_key_ids[]": key_ids}):
        found.setdefault(each["api_key_id"], []).append(each)
    most = [each for budgets in found.values() if (each := fullest(budgets))]
    return {line.budget["api_key_id"]: line for line in lines_of(page, most)}


async def _list(page: Page, *, form: FormMultiDict | None = None, error: ApiRefused | None = None) -> Response[str]:
    rows = await page.api.get(key_url(page), limit=PAGE, after=page.query("after"), **_tags(page.query("tag")))
    ids = [each["id"] for each in rows["data"]]
    spent, budgets = await at_once(spend_of_month(page, ids), budgets_of(page, ids)) if ids else ({}, {})
    return page.show(
        "keys.html",
        status=error.status if error else 200,
        rows=rows,
        spent=spent,
        budgets=budgets,
        values=Filled(form),
        error=error,
        **form_choices(page, chosen_scopes(form) if form else []),
    )


def form_choices(page: Page, scopes: list[str]) -> dict[str, Any]:
    """What a key's form offers."""
    return {
        "now": time.time(),
        "chosen": scopes,
        "groups": scope_groups(),
        "logging": LOGGING,
        "tiers": tiers(page),
        "periods": PERIODS,
        "limits": LIMITS,
    }


def _tags(tag: str) -> Mapping[str, str]:
    return {"tags[]": tag} if tag else {}
