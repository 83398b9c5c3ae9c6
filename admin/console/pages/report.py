"""Usage and quality of a month: to be read, printed, and downloaded as CSV or JSON."""

from dataclasses import dataclass
from time import time
from typing import Any

import msgspec
from litestar import Response, get

from admin.console import spreadsheet
from admin.console.api import Json, at_once
from admin.console.months import Month, latest, month_of
from admin.console.page import CurrentPage, Page
from admin.console.traffic_figures import GROUPS, failed, figures

MONTHS = 13
MOST_JOBS = 200
TABLES = {True: ("model", "api_key_id"), False: ("project_id", "model", "api_key_id")}
"""Of a project, and of everything."""
COLUMNS = ("part", "name", "id", "requests", "failed", "fallbacks", "p50_ms", "p95_ms", "p99_ms", "input_tokens",
           "output_tokens", "cost_of_calls_usd", "trainings", "trained_tokens", "device_hours", "cost_of_trainings_usd",
           "judgments", "score", "score_low", "score_high", "pass_rate", "pass_low", "pass_high")  # fmt: skip
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Told:
    """What a report says."""

    month: Month
    now: Json | None
    """Traffic of the whole month; None: there was no call."""
    before: Json | None
    tables: list[tuple[str, int, list[Row]]]
    """By what, how many there are, and those with the most requests."""
    trainings: list[Row]
    cost_of_trainings: float
    quality: list[Json]
    """Of a project: what its judgments come to."""
    jobs: list[Json]
    changes: list[Json]
    more_changes: bool


@get(["/report", "/projects/{project_id:str}/report"])
async def show_report(page: CurrentPage) -> Response[str]:
    told = await _told(page)
    return page.show(
        "report.html",
        told=told,
        month=told.month,
        months=[(each.name, each.title) for each in latest(time(), MONTHS)],
        figures=figures(told.now, told.before),
        project_names={each["id"]: each["name"] for each in page.projects},
        base=page.within("report") if page.project else "/console/report",
    )


@get(["/report/export", "/projects/{project_id:str}/report/export"])
async def export_report(page: CurrentPage) -> Response[bytes]:
    """`format`: csv (one row for each line of its tables) or json."""
    told = await _told(page)
    rows = _rows(told)
    is_csv = page.query("format", "csv") == "csv"
    name = f"report-{told.month.name}.{'csv' if is_csv else 'json'}"
    whole = {"month": told.month.name, "rows": rows, "jobs": told.jobs, "changes": told.changes}
    return Response(
        _csv(rows) if is_csv else msgspec.json.encode(whole),
        media_type="text/csv; charset=utf-8" if is_csv else "application/json",
        headers={"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"},
    )


async def _told(page: Page) -> Told:
    month = month_of(page.query("month"), time())
    groups = TABLES[page.project is not None]
    told, before, trainings, changes, of_project, *reports = await at_once(
        _traffic(page, month),
        _traffic(page, month.before),
        _trainings(page, month),
        _changes(page, month),
        _of_project(page, month),
        *(_traffic(page, month, group_by=each, group_limit=50) for each in groups),
    )
    trained = _trained(page, trainings)
    tables = [
        (GROUPS[name], report["groups"], [_row(page, name, each) for each in report["totals"]])
        for name, report in zip(groups, reports, strict=True)
    ]
    return Told(
        month=month,
        now=told["totals"][0] if told["totals"] else None,
        before=before["totals"][0] if before["totals"] else None,
        tables=tables,
        trainings=trained,
        cost_of_trainings=sum(each["cost_of_trainings_usd"] for each in trained),
        quality=of_project[0],
        jobs=of_project[1],
        changes=changes["data"],
        more_changes=changes["has_more"],
    )


async def _traffic(page: Page, month: Month, **more: Any) -> Json:
    base = f"/organization/projects/{page.project['id']}" if page.project else "/organization"
    times = {"start_time": month.start, "end_time": month.end, "bucket_width": "1d"}
    return await page.api.get(f"{base}/traffic", **times, **more)


async def _trainings(page: Page, month: Month) -> Json:
    times = {"start_time": month.start, "end_time": month.end, "limit": 31}
    only = {"project_ids": page.project["id"]} if page.project else {}
    return await page.api.get("/organization/usage/trainings", group_by=["project_id", "model"], **times, **only)


async def _changes(page: Page, month: Month) -> Json:
    only = {"project_ids": page.project["id"]} if page.project else {}
    times = {"effective_at[gte]": month.start, "effective_at[lt]": month.end}
    return await page.api.get("/organization/audit_logs", limit=50, **times, **only)


async def _of_project(page: Page, month: Month) -> tuple[list[Json], list[Json]]:
    """What its judgments come to, and the jobs that were made in the month."""
    if page.project is None:
        return [], []
    times = {"created_after": month.start, "created_before": month.end}
    quality, jobs = await at_once(
        page.api.get("/judgments/summary", **times), page.api.every("/fine_tuning/jobs", most=MOST_JOBS)
    )
    return quality["data"], [each for each in jobs if month.start <= each["created_at"] < month.end]


def _row(page: Page, group: str, result: Json) -> Row:
    latency = result["latency"] or {}
    names = {each["id"]: each["name"] for each in page.projects}
    value = result[group] or ""
    return {
        "part": GROUPS[group],
        "name": names.get(value) or result["api_key_name"] or value or "Nobody was asked",
        "id": value,
        "failed": failed(result),
        "cost_of_calls_usd": result["cost_usd"],
        **{name: result[name] for name in ("requests", "fallbacks", "input_tokens", "output_tokens")},
        **{name: latency.get(name) for name in ("p50_ms", "p95_ms", "p99_ms")},
    }


def _trained(page: Page, trainings: Json) -> list[Row]:
    """By project and base model, added up over the days."""
    names = {each["id"]: each["name"] for each in page.projects}
    found: dict[tuple[str, str], Row] = {}
    for each in (result for bucket in trainings["data"] for result in bucket["results"]):
        name = f"{names.get(each['project_id'], each['project_id'])}: {each['model']}"
        empty = {"trainings": 0, "trained_tokens": 0, "device_hours": 0.0, "cost_of_trainings_usd": 0.0}
        row = found.setdefault((each["project_id"], each["model"]), {"part": "Training", "name": name} | empty)
        row["trainings"] += each["num_trainings"]
        row["trained_tokens"] += each["trained_tokens"]
        row["device_hours"] += each["device_seconds"] / 3600
        row["cost_of_trainings_usd"] += each["cost_usd"]
    return list(found.values())


def _rows(told: Told) -> list[Row]:
    """Of the export."""
    rows = [row for _, _, table in told.tables for row in table] + told.trainings
    return rows + [_quality(each) for each in told.quality]


def _quality(each: Json) -> Row:
    mean, passing = each["mean_interval"] or {}, each["pass_interval"] or {}
    return {
        "part": "Quality",
        "name": f"{each['criterion']} ({each['source']})",
        "judgments": each["judgments"],
        "score": each["mean_score"],
        "score_low": mean.get("low"),
        "score_high": mean.get("high"),
        "pass_rate": each["pass_rate"],
        "pass_low": passing.get("low"),
        "pass_high": passing.get("high"),
    }


def _csv(rows: list[Row]) -> bytes:
    return spreadsheet.lines([COLUMNS, *([row.get(name) for name in COLUMNS] for row in rows)])
