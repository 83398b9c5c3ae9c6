"""Providers: who answers, what they have, and whether they can be reached. Their secrets are never shown."""

from collections.abc import Mapping
from typing import Any

from litestar import Response, get, post
from litestar.params import FromPath

from admin.console import entered
from admin.console.api import ApiRefused, Json, at_once, path_of
from admin.console.page import CurrentPage, Filled, Page
from admin.console.provider_form import KINDS, as_filled, called, wanted

URL = "/console/providers"
SECRET_FIELDS = ("api_key", "proxy", "secret_headers")
"""Are empty when a form is shown again."""


@get("/providers")
async def list_providers(page: CurrentPage) -> Response[str]:
    return await _list(page)


@post("/providers")
async def create_provider(page: CurrentPage) -> Response[str]:
    form = await page.form()
    try:
        made = await page.api.post("/upstreams", wanted(form, is_new=True))
    except ApiRefused as refused:
        return await _list(page, form, _of_field(refused))
    return page.see_other(f"{URL}/{made['id']}", f"The provider {made['name']} is there. Test it now.")


@get("/providers/{provider_id:str}")
async def show_provider(page: CurrentPage, provider_id: FromPath[str]) -> Response[str]:
    """With ?models=1 the provider is asked for what it has."""
    return await _one(page, provider_id)


@post("/providers/{provider_id:str}")
async def update_provider(page: CurrentPage, provider_id: FromPath[str]) -> Response[str]:
    form = await page.form()
    try:
        await page.api.post(path_of("upstreams", provider_id), wanted(form, is_new=False))
    except ApiRefused as refused:
        return await _one(page, provider_id, form=form, error=_of_field(refused))
    return page.see_other(f"{URL}/{provider_id}", "The provider is changed; calls on their way end as they began.")


@post("/providers/{provider_id:str}/delete")
async def delete_provider(page: CurrentPage, provider_id: FromPath[str]) -> Response[str]:
    await page.form()
    try:
        await page.api.delete(path_of("upstreams", provider_id))
    except ApiRefused as refused:
        return await _one(page, provider_id, error=refused)
    return page.see_other(URL, "The provider is deleted: new calls of its models find nothing.")


@post("/providers/{provider_id:str}/test")
async def test_provider(page: CurrentPage, provider_id: FromPath[str]) -> Response[str]:
    """A real call, which asks for one token."""
    form = await page.form()
    model = entered.text(form, "model")
    try:
        tested = await page.api.post(path_of("upstreams", provider_id, "test"), {"model": model} if model else {})
    except ApiRefused as refused:
        return await _one(page, provider_id, error=refused)
    return await _one(page, provider_id, tested=tested)


async def _list(page: Page, form: Mapping[str, Any] | None = None, error: ApiRefused | None = None) -> Response[str]:
    rows = await page.api.get("/upstreams", limit=100, after=page.query("after"))
    return page.show(
        "providers.html",
        status=error.status if error else 200,
        rows=rows,
        called=called,
        kinds=KINDS,
        values=Filled(_without_secrets(form)),
        error=error,
    )


async def _one(
    page: Page,
    provider_id: str,
    *,
    form: Mapping[str, Any] | None = None,
    error: ApiRefused | None = None,
    tested: Json | None = None,
) -> Response[str]:
    provider, (available, silence) = await at_once(
        page.api.get(path_of("upstreams", provider_id)), _available(page, provider_id)
    )
    return page.show(
        "provider.html",
        status=error.status if error else 200,
        provider=provider,
        available=available,
        silence=silence,
        models=[called(each) for each in provider["models"]],
        tested=tested,
        kinds=KINDS,
        values=Filled(_without_secrets(form) if form else as_filled(provider)),
        error=error,
    )


async def _available(page: Page, provider_id: str) -> tuple[list[Json] | None, ApiRefused | None]:
    """What the provider has, where it was asked; else why it did not say."""
    if not page.query("models"):
        return None, None
    try:
        return (await page.api.get(path_of("upstreams", provider_id, "available_models")))["data"], None
    except ApiRefused as refused:
        return None, refused


def _without_secrets(form: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (form or {}).items() if name not in SECRET_FIELDS}


def _of_field(refused: ApiRefused) -> ApiRefused:
    return entered.of_field(refused, base_url="base_urls")
