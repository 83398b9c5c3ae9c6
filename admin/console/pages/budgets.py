"""Budgets of everybody, of projects and of keys: what may be spent, what is, and when it will run out."""

from collections.abc import Mapping
from typing import Any

from litestar import Response, get, post
from litestar.params import FromPath

from admin.console import entered
from admin.console.api import ApiRefused, at_once, path_of
from admin.console.budget_form import as_filled, wanted
from admin.console.budget_lines import PERIODS, lines_of
from admin.console.page import CurrentPage, Filled, Page, project_url

SCOPES = {"organization": "Everybody", "project": "Projects", "api_key": "Keys"}
MOST_KEYS = 500
"""That can be chosen in a form; budgets of others are made on the page of the key."""


@get("/budgets")
async def list_budgets(page: CurrentPage) -> Response[str]:
    return await _of_organization(page)


@post("/budgets")
async def create_budget(page: CurrentPage) -> Response[str]:
    form = await page.form()
    project_id = entered.text(form, "project_id")
    try:
        await page.api.post("/budgets", wanted(form) | ({"project_id": project_id} if project_id else {}))
    except ApiRefused as refused:
        return await _of_organization(page, form, entered.of_field(refused))
    return page.see_other("/console/budgets", "The budget is in force.")


@get("/projects/{project_id:str}/budgets")
async def list_project_budgets(page: CurrentPage) -> Response[str]:
    return await _of_project(page)


@post("/projects/{project_id:str}/budgets")
async def create_project_budget(page: CurrentPage) -> Response[str]:
    form = await page.form()
    key_id = entered.text(form, "api_key_id")
    whose = {"project_id": page.api.project_id} | ({"api_key_id": key_id} if key_id else {})
    try:
        await page.api.post("/budgets", wanted(form) | whose)
    except ApiRefused as refused:
        return await _of_project(page, form, entered.of_field(refused))
    return page.see_other(page.within("budgets"), "The budget is in force.")


@get("/budgets/{budget_id:str}")
async def show_budget(page: CurrentPage, budget_id: FromPath[str]) -> Response[str]:
    return await _one(page, budget_id)


@post("/budgets/{budget_id:str}")
async def update_budget(page: CurrentPage, budget_id: FromPath[str]) -> Response[str]:
    form = await page.form()
    changes = wanted(form)
    del changes["period"]
    try:
        await page.api.post(path_of("budgets", budget_id), changes)
    except ApiRefused as refused:
        return await _one(page, budget_id, form, entered.of_field(refused))
    return page.see_other(f"/console/budgets/{budget_id}", "The budget is changed, and in force.")


@post("/budgets/{budget_id:str}/delete")
async def delete_budget(page: CurrentPage, budget_id: FromPath[str]) -> Response[str]:
    """Back to where such budgets are listed."""
    await page.form()
    budget = await page.api.get(path_of("budgets", budget_id))
    await page.api.delete(path_of("budgets", budget_id))
    listed = project_url(budget["project_id"], "budgets") if budget["project_id"] else "/console/budgets"
    return page.see_other(listed, "The budget is deleted: it binds nobody any more.")


async def _of_organization(
    page: Page, form: Mapping[str, Any] | None = None, error: ApiRefused | None = None
) -> Response[str]:
    scope = page.query("scope") if page.query("scope") in SCOPES else ""
    rows = await page.api.get("/budgets", limit=100, after=page.query("after"), scope=scope)
    return page.show(
        "budgets.html",
        status=error.status if error else 200,
        rows=rows,
        lines=lines_of(page, rows["data"]),
        scopes=SCOPES,
        scope=scope,
        periods=PERIODS,
        project_options=[(each["id"], each["name"]) for each in page.projects],
        values=Filled(form),
        error=error,
    )


async def _of_project(
    page: Page, form: Mapping[str, Any] | None = None, error: ApiRefused | None = None
) -> Response[str]:
    """Those of everybody bind it, too."""
    keys_url = f"/organization/projects/{page.api.project_id}/api_keys"
    rows, everybodys, keys = await at_once(
        page.api.get("/budgets", limit=100, after=page.query("after"), **{"project_ids[]": page.api.project_id}),
        page.api.get("/budgets", limit=100, scope="organization"),
        page.api.every(keys_url, most=MOST_KEYS),
    )
    wider = [] if page.query("after") else everybodys["data"]
    return page.show(
        "budgets.html",
        status=error.status if error else 200,
        rows=rows,
        lines=lines_of(page, [*wider, *rows["data"]]),
        periods=PERIODS,
        key_options=[(each["id"], f"Key {each['name']} ({each['redacted_value']})") for each in keys],
        values=Filled(form),
        error=error,
    )


async def _one(
    page: Page, budget_id: str, form: Mapping[str, Any] | None = None, error: ApiRefused | None = None
) -> Response[str]:
    budget, events = await at_once(
        page.api.get(path_of("budgets", budget_id)),
        page.api.get(path_of("budgets", budget_id, "events"), limit=50, after=page.query("after")),
    )
    [line] = lines_of(page, [budget])
    values = Filled(form) if form else Filled(as_filled(budget))
    status = error.status if error else 200
    return page.show("budget.html", status=status, line=line, events=events, values=values, error=error)
