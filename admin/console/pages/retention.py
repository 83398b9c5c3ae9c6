"""How long what belongs to a project is kept."""

from collections.abc import Mapping
from typing import Any

from litestar import Response, get, post

from admin.console import entered
from admin.console.api import ApiRefused
from admin.console.page import CurrentPage, Filled, Page

FIELDS = {
    "body_days": "Texts: what was asked and answered, and what was said of it",
    "exchange_days": "Exchanges, with their judgments and stored completions",
    "training_log_days": "Events, curves and logs of trainings that ended",
}


@get("/projects/{project_id:str}/retention")
async def show_retention(page: CurrentPage) -> Response[str]:
    return await _show(page)


@post("/projects/{project_id:str}/retention")
async def update_retention(page: CurrentPage) -> Response[str]:
    """An empty field is the default of the settings."""
    form = await page.form()
    try:
        await page.api.post(_url(page), {name: entered.whole(form, name) for name in FIELDS})
    except ApiRefused as refused:
        return await _show(page, form, refused)
    return page.see_other(page.within("retention"), "The periods are in force.")


async def _show(page: Page, form: Mapping[str, Any] | None = None, error: ApiRefused | None = None) -> Response[str]:
    told = await page.api.get(_url(page))
    own = {name: "" if told[name] is None else str(told[name]) for name in FIELDS}
    return page.show(
        "retention.html",
        status=error.status if error else 200,
        told=told,
        fields=FIELDS,
        gone={"body_days": told["bodies_before"], "exchange_days": told["exchanges_before"]},
        values=Filled(form if form is not None else own),
        error=error,
    )


def _url(page: Page) -> str:
    return f"/organization/projects/{page.api.project_id}/retention"
