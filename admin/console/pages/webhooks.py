"""Webhooks: where they go, which events they get, and what became of each delivery."""

from typing import Any

from litestar import Response, get, post
from litestar.datastructures import FormMultiDict
from litestar.params import FromPath

from admin.console import entered
from admin.console.api import ApiRefused, Json, at_once, path_of
from admin.console.page import CurrentPage, Filled, Page

WEBHOOKS = "/console/webhooks"
API = "/webhooks"
PAGE = 50
"""Webhooks, or deliveries."""


@get("/webhooks")
async def list_webhooks(page: CurrentPage) -> Response[str]:
    return await _list(page)


@post("/webhooks")
async def create_webhook(page: CurrentPage) -> Response[str]:
    form = await page.form()
    try:
        made = await page.api.post(API, _wanted(form))
    except ApiRefused as refused:
        return await _list(page, form, entered.of_field(refused))
    return _secret(page, made, "The webhook is made.")


@get("/webhooks/{webhook_id:str}")
async def show_webhook(page: CurrentPage, webhook_id: FromPath[str]) -> Response[str]:
    return await _one(page, webhook_id)


@post("/webhooks/{webhook_id:str}")
async def update_webhook(page: CurrentPage, webhook_id: FromPath[str]) -> Response[str]:
    form = await page.form()
    try:
        await page.api.post(_url(webhook_id), _wanted(form))
    except ApiRefused as refused:
        return await _one(page, webhook_id, form, entered.of_field(refused))
    return page.see_other(_page(webhook_id), "The webhook is changed.")


@post("/webhooks/{webhook_id:str}/enabled")
async def switch_webhook(page: CurrentPage, webhook_id: FromPath[str]) -> Response[str]:
    form = await page.form()
    on = entered.text(form, "enabled") == "true"
    await page.api.post(_url(webhook_id), {"enabled": on})
    return page.see_other(
        _page(webhook_id), "The webhook is on; what waited is tried now." if on else "The webhook is off."
    )


@post("/webhooks/{webhook_id:str}/test")
async def send_sample(page: CurrentPage, webhook_id: FromPath[str]) -> Response[str]:
    """Send a sample, and say what came back."""
    form = await page.form()
    kind = entered.text(form, "event_type")
    try:
        answer = await page.api.post(_url(webhook_id, "test"), {"event_type": kind} if kind else {})
    except ApiRefused as refused:
        return await _one(page, webhook_id, error=refused)
    return await _one(page, webhook_id, tested=answer)


@post("/webhooks/{webhook_id:str}/rotate")
async def rotate_secret(page: CurrentPage, webhook_id: FromPath[str]) -> Response[str]:
    form = await page.form()
    keep = entered.text(form, "keep") == "true"
    try:
        made = await page.api.post(_url(webhook_id, "rotate_secret"), {"keep_old_secret_active_for_24_hours": keep})
    except ApiRefused as refused:
        return await _one(page, webhook_id, error=refused)
    return _secret(page, made, "The webhook has a new secret.")


@post("/webhooks/{webhook_id:str}/delete")
async def delete_webhook(page: CurrentPage, webhook_id: FromPath[str]) -> Response[str]:
    await page.form()
    await page.api.delete(_url(webhook_id))
    return page.see_other(WEBHOOKS, "The webhook is deleted.")


def _wanted(form: FormMultiDict) -> dict[str, Any]:
    """A name that is left out of a new one is the host."""
    name = entered.text(form, "name")
    asked = {"url": entered.text(form, "url"), "event_types": form.getall("event_types", [])}
    return asked | ({"name": name} if name else {})


async def _list(page: Page, form: FormMultiDict | None = None, error: ApiRefused | None = None) -> Response[str]:
    rows, types = await at_once(
        page.api.get(API, limit=PAGE, after=page.query("after")), page.api.get("/webhook_event_types")
    )
    return page.show(
        "webhooks.html",
        status=error.status if error else 200,
        rows=rows,
        types=types["data"],
        chosen=form.getall("event_types", []) if form else [],
        values=Filled(form),
        error=error,
    )


async def _one(
    page: Page,
    webhook_id: str,
    form: FormMultiDict | None = None,
    error: ApiRefused | None = None,
    tested: Json = None,
) -> Response[str]:
    webhook, deliveries, types = await at_once(
        page.api.get(_url(webhook_id)),
        page.api.get(_url(webhook_id, "deliveries"), limit=PAGE, after=page.query("after")),
        page.api.get("/webhook_event_types"),
    )
    return page.show(
        "webhook.html",
        status=error.status if error else 200,
        webhook=webhook,
        rows=deliveries,
        types=types["data"],
        chosen=form.getall("event_types", []) if form else webhook["event_types"],
        values=Filled(form if form else webhook),
        error=error,
        tested=tested,
    )


def _secret(page: Page, webhook: Json, done: str) -> Response[str]:
    """The secret is in the answer and nowhere else: the page is not to be kept."""
    answer = page.show("webhook_secret.html", webhook=webhook, done=done)
    answer.headers["cache-control"] = "no-store"
    return answer


def _url(webhook_id: str, *parts: str) -> str:
    return f"{API}{path_of(webhook_id, *parts)}"


def _page(webhook_id: str) -> str:
    return f"{WEBHOOKS}{path_of(webhook_id)}"
