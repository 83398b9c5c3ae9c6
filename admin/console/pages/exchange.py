"""One exchange: what was said, how long it took, what it cost, what came of it; and what a person does with it."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from litestar import Response, get, post
from litestar.params import FromPath

from admin.console import conversation, entered
from admin.console.api import ApiRefused, Json, at_once, path_of
from admin.console.callable import callable_models
from admin.console.page import CurrentPage, Filled, Page
from admin.console.pages import review_items
from admin.console.replaying import replayed

ONE = "/projects/{project_id:str}/exchanges/{exchange_id:str}"
SHOWN_IN_LINEAGE = 30
MOST_QUEUES = 50
"""The newest: an older one takes more answers on its own page."""
PAGES = {"exchange": "exchanges", "job": "fine-tuning", "dataset": "datasets", "training_example": "examples"}
"""Type of a node -> the page of its kind."""
COST_PARTS = {
    "input_nano": "Input",
    "cached_input_nano": "Cached input",
    "output_nano": "Output",
    "request_nano": "Each call",
}


@get(ONE)
async def show_exchange(page: CurrentPage, exchange_id: FromPath[str]) -> Response[str]:
    return await _show(page, exchange_id)


@post(f"{ONE}/feedback")
async def give_feedback(page: CurrentPage, exchange_id: FromPath[str]) -> Response[str]:
    """Thumbs, tags, a comment and a correction: whatever was given."""
    form = await page.form()
    try:
        said = await page.api.post("/feedback", {"completion_id": exchange_id, **_feedback(form)})
    except ApiRefused as refused:
        return await _show(page, exchange_id, form=form, error=refused)
    return page.see_other(_url(page, exchange_id), f"Noted: {_named(said['judgments'])}.")


@post(f"{ONE}/judgments/{{judgment_id:str}}/retract")
async def retract(page: CurrentPage, exchange_id: FromPath[str], judgment_id: FromPath[str]) -> Response[str]:
    await page.form()
    await page.api.delete(f"/judgments{path_of(judgment_id)}")
    return page.see_other(_url(page, exchange_id), "The judgment is taken back.")


@post(f"{ONE}/learn")
async def add_example(page: CurrentPage, exchange_id: FromPath[str]) -> Response[str]:
    """As a training example: what was asked, and the answer or its correction."""
    form = await page.form()
    tags = [tag.strip() for tag in form.get("example_tags", "").split(",") if tag.strip()]
    wanted = {"exchanges": {"ids": [exchange_id]}, "tags": tags, "validated": form.get("validated") == "true"}
    try:
        made = await page.api.post("/training_examples/import", wanted)
    except ApiRefused as refused:
        return await _show(page, exchange_id, form=form, error=refused)
    if made["skipped"]:
        reason = made["skipped"][0]
        refused = ApiRefused(400, {"message": f"No example was made: {reason['reason']}. {' '.join(reason['first'])}"})
        return await _show(page, exchange_id, form=form, error=refused)
    done = "It is a training example now." if made["created"] else "It is a training example already."
    return page.see_other(_url(page, exchange_id), done)


@post(f"{ONE}/review")
async def make_queue(page: CurrentPage, exchange_id: FromPath[str]) -> Response[str]:
    """Of this answer alone: others have a look at it."""
    form = await page.form()
    source = {"answers": [{"exchange_id": exchange_id}]}
    try:
        queue = await page.api.post("/review_queues", {"name": form.get("queue_name", ""), "source": source})
    except ApiRefused as refused:
        return await _show(page, exchange_id, form=form, error=refused)
    return page.see_other(page.within("review", queue["id"]), "The queue is made.")


@post(f"{ONE}/queue")
async def add_to_queue(page: CurrentPage, exchange_id: FromPath[str]) -> Response[str]:
    """One that is there already, where it stands last."""
    form = await page.form()
    queue_id = entered.text(form, "queue_id")
    try:
        source = review_items.answers_of([exchange_id])
        made = await page.api.post(review_items.url(queue_id, "items"), {"source": source})
    except ApiRefused as refused:
        error = ApiRefused(refused.status, {"message": str(refused), "param": "queue_id"})
        return await _show(page, exchange_id, form=form, error=error)
    return page.see_other(_url(page, exchange_id), review_items.told(made))


@post(f"{ONE}/delete")
async def erase(page: CurrentPage, exchange_id: FromPath[str]) -> Response[str]:
    await page.form()
    await page.api.delete(f"/exchanges{path_of(exchange_id)}")
    return page.see_other(page.within("exchanges"), "The texts of the exchange are erased, wherever they were kept.")


@post(f"{ONE}/replay")
async def replay(page: CurrentPage, exchange_id: FromPath[str]) -> Response[str]:
    """Asks another model the same, as the person; the answer is an exchange of its own."""
    form = await page.form()
    first = await page.api.get(f"/exchanges{path_of(exchange_id)}")
    try:
        other = await replayed(page.api, first, form.get("model", ""))
    except ApiRefused as refused:
        return await _show(page, exchange_id, form=form, error=refused)
    return page.see_other(page.within("exchanges", first["id"], "replays", other))


async def _show(
    page: Page, exchange_id: str, *, form: Mapping[str, Any] | None = None, error: ApiRefused | None = None
) -> Response[str]:
    exchange = await page.api.get(f"/exchanges{path_of(exchange_id)}")
    judgments, lineage, models, queues = await at_once(
        page.api.get("/judgments", exchange=exchange["id"], limit=100),
        page.api.find(f"/lineage{path_of(exchange['id'])}", depth=1, limit=SHOWN_IN_LINEAGE),
        callable_models(page),
        page.api.get("/review_queues", limit=MOST_QUEUES),
    )
    return page.show(
        "exchange.html",
        status=error.status if error else 200,
        exchange=exchange,
        error=error,
        values=Filled(form),
        asked=conversation.asked(exchange["request"]),
        answers=conversation.answers(exchange["reply"]),
        unreadable=conversation.unreadable(exchange),
        tools=conversation.tools(exchange["request"]),
        settings=conversation.settings(exchange["request"]),
        answer=conversation.text_of_answer(exchange["reply"]),
        raw=conversation.pretty(exchange),
        timing=timing(exchange),
        costs=_costs(exchange),
        judgments=judgments["data"],
        linked=_linked(page, lineage),
        models=models,
        queues=[(each["id"], each["name"]) for each in queues["data"] if each["kind"] == "single"],
    )


def timing(exchange: Json) -> list[tuple[str, str, float]]:
    """Parts of the whole: class, what it was spent with, milliseconds."""
    whole, first, upstream = exchange["duration_ms"], exchange["first_token_ms"], exchange["upstream_ms"]
    if first is not None:
        return [("first", "until the first token", first), ("rest", "from there to the end", max(whole - first, 0.0))]
    if upstream is not None:
        own = max(whole - upstream, 0.0)
        return [("first", "in the gateway", own), ("rest", "at the provider", whole - own)]
    return [("first", "in the gateway", whole)]


def _costs(exchange: Json) -> list[tuple[str, int]]:
    parts = exchange["cost_parts"] or {}
    return [(title, parts[name]) for name, title in COST_PARTS.items() if parts.get(name)]


def _linked(page: Page, lineage: Json | None) -> list[dict[str, Any]]:
    """What it was made of and what was made of it, with where to see it."""
    found = lineage["nodes"][1:] if lineage else []
    return [node | {"url": _page_of(page, node)} for node in found if node["type"] != "judgment"]


def _page_of(page: Page, node: Json) -> str | None:
    if node["type"] in ("model", "base_model"):
        return f"{page.within('models', 'view')}?{urlencode({'model': node['id']})}"
    section = PAGES.get(node["type"])
    return page.within(section, node["id"]) if section else None


def _feedback(form: Mapping[str, Any]) -> dict[str, Any]:
    """Of the API what was filled in. A correction that says the same is none."""
    said: dict[str, Any] = {name: form[name] for name in ("thumbs", "comment") if form.get(name)}
    if tags := [tag.strip() for tag in form.get("tags", "").split(",") if tag.strip()]:
        said["tags"] = tags
    correction = form.get("correction", "").replace("\r\n", "\n")
    if correction.strip() and correction != form.get("answer", "").replace("\r\n", "\n"):
        said["correction"] = correction
    return said


def _named(judgments: list[Json]) -> str:
    return ", ".join(sorted({each["criterion"] for each in judgments})) or "nothing new"


def _url(page: Page, exchange_id: str) -> str:
    return page.within("exchanges", exchange_id)
