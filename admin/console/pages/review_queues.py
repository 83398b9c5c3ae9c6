"""Review queues of a project: how far each is, and a new one."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from litestar import Response, get, post
from litestar.datastructures import FormMultiDict
from litestar.params import FromPath

from admin.console.api import ApiRefused, Json, at_once, path_of
from admin.console.page import CurrentPage, Filled, Page

URL = "/review_queues"
PAIRWISE = "pairwise"
KINDS = (("single", "One answer at a time"), (PAIRWISE, "Two answers side by side"))
FOUND = (
    ("", "Any"),
    ("unjudged", "Judged by nobody yet"),
    ("failed", "Failed by somebody"),
    ("disagreeing", "Judges disagree"),
    ("low_score", "Low score"),
)
ORDERS = (("newest", "The newest"), ("random", "A random sample"))
ALWAYS = {
    "thumbs": "Thumbs up or down",
    "rating": "Rating, 1 to 5",
    "helpful": "Helpful, 1 to 5",
    "accurate": "Accurate, 1 to 5",
    "clear": "Clear, 1 to 5",
    "safe": "Safe, 1 to 5",
    "complete": "Complete, 1 to 5",
}
"""Criteria that every project has; a project's own come behind them."""
SINGLE_KINDS = ("boolean", "numeric", "categorical")


@get("/projects/{project_id:str}/review")
async def list_queues(page: CurrentPage) -> Response[str]:
    """Parameters of the URL fill in the form: links elsewhere ask for a review of what they show."""
    return await _list(page, form=page.request.query_params)


@post("/projects/{project_id:str}/review")
async def create_queue(page: CurrentPage) -> Response[str]:
    form = await page.form()
    try:
        made = await page.api.post(URL, _wanted(form))
    except ApiRefused as refused:
        return await _list(page, form=form, error=refused)
    count = made["progress"]["total"]
    noun = "pair" if made["kind"] == PAIRWISE else "answer"
    return page.see_other(page.within("review", made["id"]), f"{count:,} {noun}{'' if count == 1 else 's'} to review.")


@post("/projects/{project_id:str}/review/{queue_id:str}/archive")
async def archive_queue(page: CurrentPage, queue_id: FromPath[str]) -> Response[str]:
    await page.form()
    await page.api.delete(URL + path_of(queue_id))
    return page.see_other(page.within("review"), "The queue is archived. What was judged stays.")


async def _list(page: Page, *, form: Mapping[str, Any], error: ApiRefused | None = None) -> Response[str]:
    queues, criteria, judges = await at_once(
        page.api.get(URL, after=page.query("after"), limit=20),
        page.api.every("/criteria", most=100),
        page.api.every("/judges", most=100),
    )
    values = {
        "queues": queues,
        "criteria": _offered(criteria),
        "chosen": _chosen(form),
        "judges": [("", "Any"), *((each["id"], each["name"]) for each in judges)],
        "kinds": KINDS,
        "found": FOUND,
        "orders": ORDERS,
        "values": Filled(form),
        "error": error,
    }
    return page.show("review_queues.html", status=error.status if error else 200, **values)


def _offered(own: list[Json]) -> list[tuple[str, str]]:
    """Name and text of what answers and pairs can be judged by."""
    singles = [each for each in own if each["kind"] in SINGLE_KINDS and each["name"] not in ALWAYS]
    pairs = [each for each in own if each["kind"] == PAIRWISE and each["name"] != "preference"]
    return [
        *ALWAYS.items(),
        *((each["name"], each["name"]) for each in singles),
        *((each["name"], f"{each['name']} (of pairs)") for each in pairs),
    ]


def _chosen(form: Mapping[str, Any]) -> list[str]:
    return _all(form, "criteria")


def _all(form: Mapping[str, Any], name: str) -> list[str]:
    return list(form.getall(name, [])) if isinstance(form, FormMultiDict) else [form[name]] if form.get(name) else []


def _wanted(form: FormMultiDict) -> dict[str, Any]:
    """Of the API what was filled in; an empty field is the default."""
    source: dict[str, Any] = {
        "model": form.get("model") or None,
        "order": form.get("order") or "newest",
        "limit": _number(form.get("limit"), 100),
        "seed": _number(form.get("seed"), 0),
        "metadata": _metadata(form.get("metadata", "")) or None,
    }
    if found := form.get("found"):
        source |= {"found": found, "judge_id": form.get("judge_id") or None, "criterion": form.get("criterion") or None}
        source["max_score"] = _number(form.get("max_score"), 0.5)
    if days := form.get("days"):
        source["created_after"] = round((datetime.now(UTC) - timedelta(days=float(days))).timestamp())
    if names := form.get("answers", "").replace(",", " ").split():
        source["answers"] = [{"exchange_id": name} for name in names]
    criteria = _all(form, "criteria")
    return {
        "name": form.get("name", ""),
        "kind": form.get("kind") or "single",
        "criteria": criteria or None,
        "blind": form.get("blind") == "true",
        "overlap": _number(form.get("overlap"), 1),
        "source": source,
    }


def _number(value: str | None, default: float) -> Any:
    """What is no number goes to the API as it is, which says so."""
    if not value:
        return default
    try:
        return int(value) if value.lstrip("-").isdigit() else float(value)
    except ValueError:
        return value


def _metadata(text: str) -> dict[str, str]:
    """`team=a, page=7`"""
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    return {name.strip(): value.strip() for name, _, value in pairs}
