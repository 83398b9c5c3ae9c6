"""Every administrative change: who made it, when and from where; as a file, too."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import msgspec
from litestar import Response, get
from litestar.response import Stream

from admin.console import entered, spreadsheet
from admin.console.api import ApiRefused, Json
from admin.console.audit_entries import EVENTS, Line, line_of
from admin.console.page import CurrentPage, Filled, Page

API = "/organization/audit_logs"
PAGE = 50
"""Entries of a page."""
AT_A_TIME = 100
MOST = 10_000
"""Entries of a file."""
FILTERS = {
    "event_type": "event_types[]",
    "actor_email": "actor_emails[]",
    "project": "project_ids[]",
    "resource": "resource_ids[]",
}
"""Of the page -> of the API."""
FIELDS = {theirs.removesuffix("[]"): ours for ours, theirs in FILTERS.items()}
COLUMNS = (
    "id",
    "effective_at",
    "type",
    "actor",
    "actor_kind",
    "ip_address",
    "user_agent",
    "project_id",
    "resource_id",
    "changes",
)


@get("/audit-log")
async def list_entries(page: CurrentPage) -> Response[str]:
    """A filter that is wrong shows an empty list, and what is wrong with it."""
    rows: Json = {"data": [], "has_more": False}
    error = None
    try:
        rows = await page.api.get(API, limit=PAGE, after=page.query("after"), **_asked(page))
    except ApiRefused as refused:
        error = entered.of_field(refused, **FIELDS)
        if refused.status == 403:
            raise
    return page.show(
        "audit_log.html",
        status=error.status if error else 200,
        rows=rows,
        lines=[line_of(each) for each in rows["data"]],
        events=[("", "Everything"), *((each, each) for each in EVENTS)],
        projects=[("", "All"), *((each["id"], each["name"]) for each in page.projects)],
        values=Filled(page.request.query_params),
        filtered=any(page.query(name) for name in (*FILTERS, "from", "until")),
        error=error,
    )


@get("/audit-log/export")
async def export_entries(page: CurrentPage) -> Stream:
    """The newest MOST that match, written while they are read. Raises ApiRefused: a filter is wrong."""
    is_csv = page.query("format", "csv") == "csv"
    asked = _asked(page)
    first = await page.api.get(API, limit=AT_A_TIME, **asked)
    parts = _parts(page, asked, first)
    name = f"audit-log.{'csv' if is_csv else 'json'}"
    return Stream(
        _csv(parts) if is_csv else _json(parts),
        media_type="text/csv; charset=utf-8" if is_csv else "application/json",
        headers={"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"},
    )


def _asked(page: Page) -> dict[str, Any]:
    """Of the API. Raises ApiRefused: a moment is none."""
    asked: dict[str, Any] = {theirs: page.query(ours).strip() for ours, theirs in FILTERS.items()}
    asked["actor_emails[]"] = asked["actor_emails[]"].lower()
    asked["effective_at[gte]"] = entered.utc(page.request.query_params, "from")
    asked["effective_at[lt]"] = entered.utc(page.request.query_params, "until")
    return asked


async def _parts(page: Page, asked: dict[str, Any], part: Json) -> AsyncIterator[list[Json]]:
    count = 0
    while True:
        yield part["data"][: MOST - count]
        count += len(part["data"])
        if count >= MOST or not part["has_more"] or not part["data"]:
            return
        part = await page.api.get(API, limit=AT_A_TIME, after=part["last_id"], **asked)


async def _csv(parts: AsyncIterator[list[Json]]) -> AsyncIterator[bytes]:
    yield spreadsheet.lines([COLUMNS])
    async for entries in parts:
        yield spreadsheet.lines(_row(line_of(each)) for each in entries)


async def _json(parts: AsyncIterator[list[Json]]) -> AsyncIterator[bytes]:
    separator = b"[\n"
    async for entries in parts:
        for each in entries:
            yield separator + msgspec.json.encode(each)
            separator = b",\n"
    yield b"\n]\n" if separator == b",\n" else b"[]\n"


def _row(line: Line) -> list[str]:
    changes = "; ".join(f"{name}: {value}" for name, value in line.changes)
    project = line.project["id"] if line.project else ""
    when = datetime.fromtimestamp(line.when, UTC).isoformat()
    return [line.id, when, line.type, line.who, line.kind, line.address, line.agent, project, line.resource, changes]
