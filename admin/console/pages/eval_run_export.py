"""The answers of a run as a file: CSV for a spreadsheet, or JSON. Written while they are read."""

from collections.abc import AsyncIterator, Iterable
from typing import Any

import msgspec
from litestar import get
from litestar.params import FromPath
from litestar.response import Stream

from admin.console import spreadsheet
from admin.console.api import Json, at_once, path_of
from admin.console.evals import answers
from admin.console.page import CurrentPage, Page
from admin.console.pages.eval_run import ONE

AT_A_TIME = 100
COLUMNS = (
    "item",
    "repeat",
    "status",
    "asked",
    "answer",
    "reference",
    "errors",
    "latency_ms",
    "cost_usd",
    "exchange_id",
)
"""Followed by two columns for each criterion: whether it passes, and its score."""
Part = list[Json]


@get(ONE + "/export")
async def export_items(page: CurrentPage, eval_id: FromPath[str], run_id: FromPath[str]) -> Stream:
    """All that have ended; of one `status`, if it is named."""
    items = path_of("evals", eval_id, "runs", run_id, "output_items")
    suite, first = await at_once(page.api.get(path_of("evals", eval_id)), _part(page, items, None))
    parts = _parts(page, items, first)
    is_csv = page.query("format", "csv") == "csv"
    lines = _csv(suite["testing_criteria"], parts) if is_csv else written_json(parts)
    return download(lines, f"{run_id}.{'csv' if is_csv else 'json'}")


def download(lines: AsyncIterator[bytes], name: str) -> Stream:
    return Stream(
        lines,
        media_type="text/csv; charset=utf-8" if name.endswith(".csv") else "application/json",
        headers={"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"},
    )


async def written_json(parts: AsyncIterator[Part]) -> AsyncIterator[bytes]:
    """One list of everything."""
    separator = b"[\n"
    async for rows in parts:
        for row in rows:
            yield separator + msgspec.json.encode(row)
            separator = b",\n"
    yield b"\n]\n" if separator == b",\n" else b"[]\n"


async def _part(page: Page, path: str, after: str | None) -> Json:
    return await page.api.get(path, limit=AT_A_TIME, after=after, status=page.query("status"))


async def _parts(page: Page, path: str, part: Json) -> AsyncIterator[Part]:
    yield part["data"]
    while part["has_more"]:
        part = await _part(page, path, part["last_id"])
        yield part["data"]


async def _csv(criteria: list[Json], parts: AsyncIterator[Part]) -> AsyncIterator[bytes]:
    names = [name for each in criteria for name in (each["name"], f"{each['name']} (score)")]
    yield spreadsheet.lines([[*COLUMNS, *names]])
    async for rows in parts:
        yield spreadsheet.lines([*_values(row), *_verdicts(criteria, row)] for row in rows)


def _values(row: Json) -> list[str | float | None]:
    errors = [f"{each['code']}: {each['message']}" for each in row["errors"]]
    texts = [answers.question(row, 10_000), answers.answer(row), row["reference"]]
    figures = [row["duration_ms"], row["cost_usd"], row["exchange_id"]]
    # numbered as the page numbers them
    return [row["datasource_item_id"] + 1, row["repeat"] + 1, row["status"], *texts, "; ".join(errors), *figures]


def _verdicts(criteria: Iterable[Json], row: Json) -> list[str | float | None]:
    """Empty where it could not grade: an error is no score."""
    by_id: dict[str, Any] = {each["name"]: each for each in row["results"]}
    found: list[str | float | None] = []
    for criterion in criteria:
        result = by_id.get(criterion["id"])
        found += [("pass" if result["passed"] else "fail"), result["score"]] if result else [None, None]
    return found
