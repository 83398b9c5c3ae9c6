"""A comparison as a file: every figure as CSV, or all of it as JSON, with what changed."""

from typing import Any

import msgspec
from litestar import Response, get
from litestar.params import FromPath

from admin.console import spreadsheet
from admin.console.api import ApiRefused, Json, at_once, path_of
from admin.console.page import CurrentPage
from admin.console.pages.eval_comparison import ONE, chosen

COLUMNS = (
    "run_id", "model", "name", "base_run_id", "base_model", "figure", "decides", "base", "run", "difference", "low", "high",
    "n", "clusters", "p", "p_adjusted", "test", "significant", "pass_to_fail", "fail_to_pass", "left_out",
)  # fmt: skip


@get(ONE + "/export")
async def export_comparison(page: CurrentPage, eval_id: FromPath[str]) -> Response[bytes]:
    """Of runs that have completed. Raises ApiRefused."""
    base_id, ids, problem = chosen(page)
    if problem or not base_id:
        raise ApiRefused(400, {"message": problem or "Choose a baseline."})
    path = path_of("evals", eval_id)
    base, *runs = await at_once(*(page.api.get(f"{path}{path_of('runs', id)}") for id in (base_id, *ids)))
    compared = [page.api.get(f"{path}{path_of('runs', each, 'compare')}", **{"with": base_id}) for each in ids]
    found = [each["comparison"] for each in await at_once(*compared)]
    if page.query("format", "csv") == "json":
        return _file(_json(base, runs, found), "json", eval_id)
    rows = [row for run, told in zip(runs, found, strict=True) for row in _rows(base, run, told)]
    return _file(spreadsheet.lines([COLUMNS, *rows]), "csv", eval_id)


def _file(content: bytes, kind: str, eval_id: str) -> Response[bytes]:
    headers = {
        "content-disposition": f'attachment; filename="{eval_id}-comparison.{kind}"',
        "cache-control": "no-store",
    }
    return Response(
        content, media_type="text/csv; charset=utf-8" if kind == "csv" else "application/json", headers=headers
    )


def _json(base: Json, runs: list[Json], found: list[Json]) -> bytes:
    whole = {
        "base": _short(base),
        "compared": [_short(run) | {"comparison": told} for run, told in zip(runs, found, strict=True)],
    }
    return msgspec.json.format(msgspec.json.encode(whole))


def _short(run: Json) -> dict[str, Any]:
    """Without the data."""
    return {name: value for name, value in run.items() if name != "data_source"}


def _rows(base: Json, run: Json, told: Json) -> list[list[str | float | None]]:
    about = [run["id"], run["model"], run["name"], base["id"], base["model"]]
    flips = [told["pass_to_fail"], told["fail_to_pass"], told["left_out"]]
    return [
        [*about, each["name"], _said(n == 0), *_figures(each), _said(each["significant"]), *flips]
        for n, each in enumerate([told["primary"], *told["secondary"]])
    ]


def _figures(each: Json) -> list[str | float | None]:
    return [each[name] for name in COLUMNS[7:17]]


def _said(value: bool) -> str:
    return "true" if value else "false"
