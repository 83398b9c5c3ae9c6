"""One item of a review queue at a time. The script asks for the same as parts of a page: `hx-request`."""

from collections.abc import Mapping
from typing import Any

from litestar import Response, get, post
from litestar.params import FromPath

from admin.console.api import ApiRefused, Json, at_once, path_of
from admin.console.page import CurrentPage, Page
from admin.console.review_words import (
    STRENGTHS,
    TAGS,
    calls_of,
    decision_of,
    questions_of,
    subject_of,
    summary_of,
    text_of,
    verdict_of,
)

URL = "/review_queues"
BASE = "/projects/{project_id:str}/review/{queue_id:str}"
NOTHING = "There is nothing left for you right now."
ITEM = BASE + "/items/{item_id:str}"


@get(BASE)
async def show_review(page: CurrentPage, queue_id: FromPath[str]) -> Response[str]:
    """What the person has before them; a new item is asked for with a button, never by looking at a page."""
    queue, current = await at_once(_queue(page, queue_id), page.api.get(_url(queue_id, "current")))
    return _show(page, queue, current)


@post(BASE + "/next")
async def next_item(page: CurrentPage, queue_id: FromPath[str]) -> Response[str]:
    form = await page.form()
    besides = [each for each in form.get("besides", "").split(",") if each]
    wanted = {"besides": besides, "skipped": form.get("skipped") == "true"}
    if not page.is_fragment:
        found = await page.api.post(_url(queue_id, "next"), wanted)
        return _back(page, queue_id, "" if found["item"] else NOTHING)
    queue, found = await at_once(_queue(page, queue_id), page.api.post(_url(queue_id, "next"), wanted))
    return _show(page, queue, found, asked=True)


@post(ITEM)
async def decide(page: CurrentPage, queue_id: FromPath[str], item_id: FromPath[str]) -> Response[str]:
    """The next item comes at once; without scripts a line at the top tells what judges said of the last one."""
    form = await page.form()
    queue = await _queue(page, queue_id)
    item = await page.api.get(_url(queue_id, "items", item_id)) if form.get("correction") else None
    try:
        told = await page.api.post(_url(queue_id, "items", item_id, "decision"), decision_of(queue, form, item))
    except ApiRefused as refused:
        return await _again(page, queue, item_id, form, refused)
    if page.is_fragment:
        return _told(page, queue, told["progress"], told["item"])
    found = await page.api.post(_url(queue_id, "next"))
    return _back(page, queue_id, summary_of(told["item"]) + ("" if found["item"] else f" {NOTHING}"))


@post(ITEM + "/skip")
async def skip(page: CurrentPage, queue_id: FromPath[str], item_id: FromPath[str]) -> Response[str]:
    await page.form()
    progress = await page.api.post(_url(queue_id, "items", item_id, "skip"))
    if page.is_fragment:
        return _told(page, await _queue(page, queue_id), progress, None)
    await page.api.post(_url(queue_id, "next"))
    return _back(page, queue_id, "Skipped: others may judge it.")


@post(BASE + "/undo")
async def undo(page: CurrentPage, queue_id: FromPath[str]) -> Response[str]:
    form = await page.form()
    try:
        found = await page.api.post(_url(queue_id, "undo"), {"item_id": form.get("item_id") or None})
    except ApiRefused as refused:
        if refused.status != 409 or page.is_fragment:
            raise
        return _back(page, queue_id, str(refused))
    if page.is_fragment:
        return _show(page, await _queue(page, queue_id), found, asked=True)
    return _back(page, queue_id, "Taken back.")


@post(BASE + "/release")
async def release(page: CurrentPage, queue_id: FromPath[str]) -> Response[str]:
    await page.form()
    await page.api.post(_url(queue_id, "release"))
    return page.see_other(page.within("review"))


async def _again(page: Page, queue: Json, item_id: str, form: Mapping[str, Any], error: ApiRefused) -> Response[str]:
    """The same item with what was filled in; where it is gone, why."""
    found: Json = {"item": None, "progress": queue["progress"], "waiting": 0}
    try:
        found["item"] = await page.api.get(_url(queue["id"], "items", item_id))
    except ApiRefused as gone:
        if gone.status not in (404, 409):
            raise
    return _show(page, queue, found, form=form, error=error)


def _show(
    page: Page,
    queue: Json,
    found: Json,
    *,
    asked: bool = False,
    form: Mapping[str, Any] | None = None,
    error: ApiRefused | None = None,
) -> Response[str]:
    """A whole page, or the part with the item.

    Args:
        asked: the person wanted an item, and was given what there is.
    """
    values = _values(page, queue, found["progress"]) | {
        "item": found["item"],
        "waiting": found["waiting"],
        "asked": asked,
        "questions": questions_of(queue),
        "form": form or {},
        "error": error,
        "told": None,
        "strengths": STRENGTHS,
        "tags": TAGS,
    }
    template = "review_parts_item.html" if page.is_fragment else "review.html"
    return page.show(template, status=error.status if error else 200, **values)


def _told(page: Page, queue: Json, progress: Json, item: Json | None) -> Response[str]:
    """What became of the last item, and how far the queue is."""
    return page.show("review_parts_told.html", told=item, **_values(page, queue, progress))


def _values(page: Page, queue: Json, progress: Json) -> dict[str, Any]:
    return {
        "queue": queue,
        "progress": progress,
        "base": page.within("review", queue["id"]),
        "text_of": text_of,
        "calls_of": calls_of,
        "verdict_of": verdict_of,
        "subject_of": subject_of,
    }


async def _queue(page: Page, queue_id: str) -> Json:
    return await page.api.get(_url(queue_id))


def _back(page: Page, queue_id: str, done: str = "") -> Response[str]:
    return page.see_other(page.within("review", queue_id), done)


def _url(*parts: str) -> str:
    return URL + path_of(*parts)
