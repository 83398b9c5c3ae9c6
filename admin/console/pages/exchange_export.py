"""What the log's filters show, as a file: CSV for a spreadsheet, or JSON. Written while it is read."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import msgspec
from litestar import get
from litestar.response import Stream

from admin.console import exchange_filters, spreadsheet
from admin.console.api import Json
from admin.console.page import CurrentPage, Page

MOST = 10_000
AT_A_TIME = 100
LOOKED_AT = 100_000
"""Exchanges for each part of it."""
LOOKS = 300
"""Parts at most: whoever looks for what is nowhere is answered, too."""
COLUMNS = (
    "id", "created_at", "requested_model", "served_model", "route", "upstream", "outcome", "status", "error_code",
    "streamed", "cache_hit", "input_tokens", "cached_input_tokens", "output_tokens", "cost_usd", "duration_ms", "first_token_ms",
    "api_key_id", "purpose", "end_user", "metadata", "question", "answer",
)  # fmt: skip


@get("/projects/{project_id:str}/exchanges/export")
async def export_exchanges(page: CurrentPage) -> Stream:
    """The newest MOST that match. Raises ApiRefused: a filter is wrong."""
    query = exchange_filters.asked(exchange_filters.of_url(dict(page.request.query_params.items())))
    first = await _part(page, query, None)
    is_csv = page.query("format", "csv") == "csv"
    lines = (_csv if is_csv else _json)(_parts(page, query, first))
    name = f"exchanges.{'csv' if is_csv else 'json'}"
    return Stream(
        lines,
        media_type="text/csv; charset=utf-8" if is_csv else "application/json",
        headers={"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"},
    )


async def _part(page: Page, query: dict[str, str], after: str | None) -> Json:
    bounds = {"limit": AT_A_TIME, "scan_limit": LOOKED_AT, "include": "preview", "after": after}
    return await page.api.get("/exchanges", **query, **bounds)


async def _parts(page: Page, query: dict[str, str], part: Json) -> AsyncIterator[list[Json]]:
    count = 0
    for _ in range(LOOKS):
        yield part["data"][: MOST - count]
        count += len(part["data"])
        after = part["continue_from"] or part["last_id"]
        if count >= MOST or not part["has_more"] or after is None:
            return
        part = await _part(page, query, after)


async def _csv(parts: AsyncIterator[list[Json]]) -> AsyncIterator[bytes]:
    yield spreadsheet.lines([COLUMNS])
    async for rows in parts:
        yield spreadsheet.lines(_values(row) for row in rows)


async def _json(parts: AsyncIterator[list[Json]]) -> AsyncIterator[bytes]:
    separator = b"[\n"
    async for rows in parts:
        for row in rows:
            yield separator + msgspec.json.encode(row)
            separator = b",\n"
    yield b"\n]\n" if separator == b",\n" else b"[]\n"


def _values(row: Json) -> list[str]:
    usage, preview = row["usage"] or {}, row["preview"] or {}
    flat: dict[str, Any] = row | usage | preview
    flat["created_at"] = datetime.fromtimestamp(row["created_at"], UTC).isoformat()
    flat["error_code"] = (row["error"] or {}).get("code")
    flat["metadata"] = msgspec.json.encode(row["metadata"]).decode() if row["metadata"] else None
    return [_cell(flat.get(name)) for name in COLUMNS]


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)
