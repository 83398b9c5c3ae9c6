"""Guidance: what fails most in a project, where, since when, and what to do about it."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from litestar import Response, get, post

from admin.console import entered, guidance_links, spreadsheet
from admin.console.api import ApiRefused, Json, at_once
from admin.console.page import CurrentPage, Filled, Page

URL = "/projects/{project_id:str}/guidance"
COLUMNS = (
    "id", "kind", "title", "n", "of", "share", "low", "high", "end_users", "models", "concentrated_in", "trend", "since",
    "first_seen", "last_seen", "suggestions",
)  # fmt: skip
MISSING = {
    "people": (
        "Nobody has said what they think of answers",
        "review",
        "Review some, or send thumbs with /v1/feedback.",
    ),
    "rules": (
        "No rules look at answers",
        "judges/new?type=rule",
        "A judge of rules checks format, length or language.",
    ),
    "judges": ("No model judges answers", "judges/new", "A judge reads a sample of the traffic."),
    "evals": ("No eval has run", "evals", "An eval tells what fails before anybody meets it."),
    "calls": ("There are no calls", "keys", "Make a key and call a model with it."),
}
"""What there is none of -> what to do."""


@get(URL)
async def show_guidance(page: CurrentPage) -> Response[str]:
    """As a fragment, once a second, while it is computed."""
    return await _show(page, page.request.query_params)


@post(URL)
async def ask_model(page: CurrentPage) -> Response[str]:
    """A model's opinion, beside the rules' facts."""
    form = await page.form()
    opinion, error = None, None
    try:
        filters = {name: value for name, value in _filters(form).items() if value not in (None, "")}
        opinion = await page.api.post("/guidance/summary", {"model": entered.text(form, "asked"), "filters": filters})
    except ApiRefused as refused:
        error = refused
    return await _show(page, form, opinion=opinion, refused=error)


@get(URL + "/export")
async def export_guidance(page: CurrentPage) -> Response[bytes]:
    """The clusters. Raises ApiRefused: a filter is wrong."""
    found = await page.api.get("/guidance", **_filters(page.request.query_params))
    is_csv = page.query("format", "csv") == "csv"
    content = spreadsheet.lines([COLUMNS, *map(_row, found["data"])]) if is_csv else msgspec.json.encode(found)
    return Response(
        content,
        media_type="text/csv; charset=utf-8" if is_csv else "application/json",
        headers={
            "content-disposition": f'attachment; filename="guidance.{"csv" if is_csv else "json"}"',
            "cache-control": "no-store",
        },
    )


async def _show(
    page: Page, form: Mapping[str, Any], *, opinion: Json | None = None, refused: ApiRefused | None = None
) -> Response[str]:
    """A filter that is wrong shows nothing, and what is wrong with it."""
    found: Json = {"status": "ready", "data": [], "missing": [], "looked_at": None, "refreshing": False}
    models: list[Json] = []
    error: ApiRefused | None = None
    try:
        found, listed = await at_once(page.api.get("/guidance", **_filters(form)), page.api.get("/models"))
        models = listed["data"]
    except ApiRefused as wrong:
        if wrong.status not in (400, 503):
            raise
        error = entered.of_field(wrong, created_after="from", created_before="until")
    filters = _encoded(form)
    values: dict[str, Any] = {
        "found": found,
        "values": Filled(form),
        "query": filters,
        "filtered": any(form.get(name) for name in ("model", "route", "from", "until")),
        "missing": [MISSING[name] for name in found["missing"] if name in MISSING],
        "models": [each["id"] for each in models],
        "links": lambda suggestion: guidance_links.links(page, suggestion),
        "failures": lambda cluster: guidance_links.failures(page, cluster, filters),
        "example_url": lambda example: guidance_links.example(page, example),
        "opinion": opinion,
        "opinions": {each["cluster_id"]: each for each in (opinion or {}).get("causes", [])},
        "refused": refused,
        "error": error,
    }
    status = (refused or error).status if refused or error else 200  # type: ignore[union-attr]
    return page.show("guidance_clusters.html" if page.is_fragment else "guidance.html", status=status, **values)


def _filters(form: Mapping[str, Any]) -> dict[str, Any]:
    """For the API. Raises ApiRefused: a time is none."""
    return {
        "model": entered.text(form, "model"),
        "route": entered.text(form, "route"),
        "created_after": entered.utc(form, "from"),
        "created_before": entered.utc(form, "until"),
    }


def _encoded(form: Mapping[str, Any]) -> dict[str, str]:
    return {name: value for name in ("model", "route", "from", "until") if (value := entered.text(form, name))}


def _row(cluster: Json) -> list[str | float | None]:
    failing, trend, since = cluster["failing"], cluster["trend"], cluster["since"]
    numbers = [failing[name] for name in ("n", "of", "value", "low", "high")]
    return [
        cluster["id"],
        cluster["kind"],
        cluster["title"],
        *numbers,
        cluster["end_users"],
        "; ".join(_models(cluster)),
        "; ".join(f"{each['key']}={each['value']}" for each in cluster["concentrations"]),
        trend["direction"] if trend else None,
        since["name"] if since else None,
        *(datetime.fromtimestamp(cluster[name], UTC).isoformat() for name in ("first_seen", "last_seen")),
        "; ".join(each["title"] for each in cluster["suggestions"]),
    ]


def _models(cluster: Json) -> Iterator[str]:
    for each in cluster["models"]:
        yield f"{each['value'] or 'nobody'} {each['failing']['n']}/{each['failing']['of']}"
