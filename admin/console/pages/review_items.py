"""What is in a review queue: each item with its state, who judged it, and how far people are; more answers for it."""

from typing import Any

from litestar import Response, get, post
from litestar.params import FromPath

from admin.console import entered
from admin.console.api import ApiRefused, Json, at_once, path_of
from admin.console.page import CurrentPage, Filled, Page

ITEMS = "/projects/{project_id:str}/review/{queue_id:str}/items"
PAGE = 50
STATES = {"": "All", "open": "Open", "locked": "Somebody looks at it", "done": "Done", "gone": "Erased"}
KINDS = {"open": "plain", "locked": "busy", "done": "good", "gone": "warn"}
WORDS = {"done": "judged", "skipped": "skipped"}


@get(ITEMS)
async def list_items(page: CurrentPage, queue_id: FromPath[str]) -> Response[str]:
    """Filters are in the URL: `state`, and `judged_by`, a person."""
    return await _list(page, queue_id)


@post(ITEMS)
async def add_items(page: CurrentPage, queue_id: FromPath[str]) -> Response[str]:
    form = await page.form()
    names = entered.text(form, "answers").replace(",", " ").split()
    try:
        made = await page.api.post(url(queue_id, "items"), {"source": answers_of(names)})
    except ApiRefused as refused:
        return await _list(page, queue_id, answers=form.get("answers", ""), error=refused)
    return page.see_other(page.within("review", queue_id, "items"), told(made))


def url(queue_id: str, *parts: str) -> str:
    """Of the API."""
    return f"/review_queues{path_of(queue_id, *parts)}"


def answers_of(names: list[str]) -> Json:
    """The API's source of these exchanges alone."""
    return {"answers": [{"exchange_id": name} for name in names]}


def told(made: Json) -> str:
    """What came of adding."""
    noun = "item" if made["added"] == 1 else "items"
    before = f" {made['present']:,} had been in the queue before." if made["present"] else ""
    return f"{made['added']:,} {noun} added to {made['queue']['name']}.{before}"


async def _list(page: Page, queue_id: str, *, answers: str = "", error: ApiRefused | None = None) -> Response[str]:
    filters: dict[str, Any] = {name: page.query(name) for name in ("state", "judged_by")}
    queue, rows, people = await at_once(
        page.api.get(url(queue_id)),
        page.api.get(url(queue_id, "items"), limit=PAGE, after=page.query("after"), **filters),
        page.api.get(url(queue_id, "people")),
    )
    names = {each["user_id"]: each["name"] or each["user_id"] for each in people["data"]}
    return page.show(
        "review_items.html",
        status=error.status if error else 200,
        queue=queue,
        rows=rows,
        people=people["data"],
        names=names | {page.user["id"]: "you"},
        judges=[("", "Anybody"), *names.items()],
        states=STATES,
        kinds=KINDS,
        words=WORDS,
        filters=Filled(filters),
        is_filtered=any(filters.values()),
        answers=answers,
        error=error,
    )
