"""A conversation with any model or route of the project. Scripts stream it; without them one question has one answer."""

from collections.abc import Mapping
from typing import Any

from litestar import Response, get, post

from admin.console.api import ApiRefused, Json
from admin.console.callable import callable_models
from admin.console.page import CurrentPage, Filled, Page

NUMBERS = {"temperature": float, "max_tokens": int, "seed": int}


@get("/projects/{project_id:str}/chat")
async def show_chat(page: CurrentPage) -> Response[str]:
    return await _chat(page, {"model": page.query("model")})


@post("/projects/{project_id:str}/chat")
async def ask(page: CurrentPage) -> Response[str]:
    """Of a browser without scripts."""
    form = await page.form()
    try:
        reply = await page.api.post("/chat/completions", _call(form))
    except ApiRefused as refused:
        return await _chat(page, form, error=refused)
    return await _chat(page, form, reply=reply)


async def _chat(
    page: Page, form: Mapping[str, Any], *, reply: Json = None, error: ApiRefused | None = None
) -> Response[str]:
    status = error.status if error else 200
    models = await callable_models(page)
    return page.show("chat.html", status=status, models=models, values=Filled(form), reply=reply, error=error)


def _call(form: Mapping[str, Any]) -> dict[str, Any]:
    """What is no number goes to the API as it is, which says so."""
    system = [{"role": "system", "content": form["system"]}] if form.get("system") else []
    call = {
        "model": form.get("model", ""),
        "messages": [*system, {"role": "user", "content": form.get("message", "")}],
    }
    for name, read in NUMBERS.items():
        if text := form.get(name, "").strip():
            call[name] = _number(text, read)
    return call


def _number(text: str, read: type[int] | type[float]) -> int | float | str:
    try:
        return read(text)
    except ValueError:
        return text
