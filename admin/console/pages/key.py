"""One key: what it may do, what it spends, what binds it."""

from datetime import UTC, datetime
from typing import Any

from litestar import Response, get, post
from litestar.datastructures import FormMultiDict
from litestar.params import FromPath

from admin.console import entered
from admin.console.api import ApiRefused, Json, at_once
from admin.console.budget_form import wanted
from admin.console.budget_lines import lines_of
from admin.console.key_bounds import BUDGET, EVERY_MODEL, LIMITS, UNLIMITED, limits
from admin.console.key_rights import as_filled, chosen_scopes, described, rights
from admin.console.page import CurrentPage, Filled, Page
from admin.console.pages.keys import form_choices, key_url

DAYS, DAY = 31, 86_400


@get("/projects/{project_id:str}/keys/{key_id:str}")
async def show_key(page: CurrentPage, key_id: FromPath[str]) -> Response[str]:
    return await _one(page, key_id)


@post("/projects/{project_id:str}/keys/{key_id:str}")
async def update_key(page: CurrentPage, key_id: FromPath[str]) -> Response[str]:
    form = await page.form()
    try:
        await page.api.post(key_url(page, key_id), rights(form, is_new=False))
    except ApiRefused as refused:
        error = entered.of_field(refused, expires_in_seconds="expires_in_days")
        return await _one(page, key_id, form, error)
    return page.see_other(page.within("keys", key_id), "The key is changed; it holds everywhere within a second.")


@post("/projects/{project_id:str}/keys/{key_id:str}/budget")
async def create_budget(page: CurrentPage, key_id: FromPath[str]) -> Response[str]:
    form = await page.form()
    whose = {"project_id": page.api.project_id, "api_key_id": key_id}
    try:
        await page.api.post("/budgets", wanted(form, BUDGET) | whose)
    except ApiRefused as refused:
        fields = {name: f"{BUDGET}{name}" for name in ("limit_usd", "period", "thresholds", "name")}
        return await _one(page, key_id, form, entered.of_field(refused, **fields))
    return page.see_other(page.within("keys", key_id), "The budget is in force.")


@post("/projects/{project_id:str}/keys/{key_id:str}/limits")
async def update_limits(page: CurrentPage, key_id: FromPath[str]) -> Response[str]:
    """Of all models together."""
    form = await page.form()
    try:
        await page.api.post(f"{_limits_url(page)}/{EVERY_MODEL}", limits(form), api_key_id=key_id)
    except ApiRefused as refused:
        return await _one(page, key_id, form, refused)
    return page.see_other(page.within("keys", key_id), "The rate limits are in force.")


@post("/projects/{project_id:str}/keys/{key_id:str}/limits/reset")
async def reset_limits(page: CurrentPage, key_id: FromPath[str]) -> Response[str]:
    await page.form()
    await page.api.delete(f"{_limits_url(page)}/{EVERY_MODEL}", api_key_id=key_id)
    return page.see_other(page.within("keys", key_id), "The rate limits are those of the tier again.")


async def _one(
    page: Page, key_id: str, form: FormMultiDict | None = None, error: ApiRefused | None = None
) -> Response[str]:
    """As many calls for every key."""
    since = _first_day()
    of_key = {"start_time": since, "bucket_width": "1d", "limit": DAYS, "api_key_ids[]": key_id}
    api = page.api
    key, costs, usage, own, of_project, everybodys, found = await at_once(
        api.get(key_url(page, key_id)),
        api.get("/organization/costs", **of_key),
        api.get("/organization/usage/completions", **of_key),
        api.get("/budgets", limit=100, **{"api_key_ids[]": key_id}),
        api.get("/budgets", limit=100, scope="project", **{"project_ids[]": api.project_id}),
        api.get("/budgets", limit=100, scope="organization"),
        api.get(_limits_url(page), limit=100, api_key_id=key_id),
    )
    scopes = chosen_scopes(form) if form else key["scopes"] or []
    return page.show(
        "key.html",
        status=error.status if error else 200,
        key=key,
        about=described(key),
        days=_days(costs, usage),
        lines=lines_of(page, [*own["data"], *of_project["data"], *everybodys["data"]]),
        limited=limits_shown(found["data"]),
        values=Filled(form if form else as_filled(key)),
        error=error,
        **form_choices(page, scopes),
    )


def limits_shown(rows: list[Json]) -> list[dict[str, Any]]:
    """Of all models together, then of those that differ from that: the model, and by field a number or None (no limit)."""
    shown = [{"model": each["model"], "values": {name: _limit(each.get(name)) for name in LIMITS}} for each in rows]
    return [each for each in shown if each is shown[0] or each["values"] != shown[0]["values"]]


def _limit(value: int | None) -> int | None:
    return None if value in (None, UNLIMITED) else value


def _days(costs: Json, usage: Json) -> dict[str, Any]:
    """By day, both; and their sums."""
    spent = [sum(each["amount"]["value"] for each in bucket["results"]) for bucket in costs["data"]]
    calls = [sum(each["num_model_requests"] for each in bucket["results"]) for bucket in usage["data"]]
    tokens = [
        sum(each["input_tokens"] + each["output_tokens"] for each in bucket["results"]) for bucket in usage["data"]
    ]
    unpriced = sum(each["unpriced_requests"] for bucket in costs["data"] for each in bucket["results"])
    x = [bucket["start_time"] for bucket in costs["data"]]
    return {
        "x": x,
        "spent": spent,
        "calls": calls,
        "totals": {"spent": sum(spent), "calls": sum(calls), "tokens": sum(tokens), "unpriced": unpriced},
    }


def _first_day() -> int:
    """So that there are DAYS days with today."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return round(today.timestamp()) - (DAYS - 1) * DAY


def _limits_url(page: Page) -> str:
    return f"/organization/projects/{page.api.project_id}/rate_limits"
