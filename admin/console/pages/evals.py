"""Evals of a project: the list, and one with its runs."""

from typing import Any

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath

from admin.console import entered, spreadsheet
from admin.console.api import ApiRefused, Json, at_once, path_of
from admin.console.evals import words
from admin.console.evals.figures import cost, score_of
from admin.console.evals.run_list import COLUMNS, chart, row_of, tokens
from admin.console.page import CurrentPage, Filled, Page

ALL = "/projects/{project_id:str}/evals"
ONE = ALL + "/{eval_id:str}"
PAGE = 20
"""Runs."""
TREND = 50
MOST_EXPORTED = 1000
NO_MODEL = "(none)"
"""`model` of the page's URL: runs that graded answers of the data. No model has such a name."""
UNFINISHED = ("queued", "in_progress")
EFFECT = "5"
"""Points of the pass rate that one would like to find."""


@get(ALL)
async def list_evals(page: CurrentPage) -> Response[str]:
    found = await page.api.get("/eval_standings", limit=50, after=page.query("after"))
    return page.show("evals.html", evals=found, directions=words.DIRECTIONS)


@get(ONE)
async def show_eval(page: CurrentPage, eval_id: FromPath[str]) -> Response[str]:
    return await show(page, eval_id)


@get(ONE + "/live")
async def show_live(page: CurrentPage, eval_id: FromPath[str]) -> Response[str]:
    """How far its runs are; once one of them has ended, the whole page."""
    runs = await _runs(page, eval_id, "")
    under_way = _under_way(runs)
    answer = page.show("eval_live.html", eval_id=eval_id, under_way=under_way)
    if page.query("runs") != ",".join(each["id"] for each in under_way):
        answer.headers["hx-refresh"] = "true"
    return answer


@get(ONE + "/export")
async def export_runs(page: CurrentPage, eval_id: FromPath[str]) -> Response[bytes]:
    """The newest runs, as CSV or, with all that the API tells of them, as JSON."""
    runs = await page.api.every(f"{path_of('evals', eval_id)}/runs", most=MOST_EXPORTED, order="desc")
    is_csv = page.query("format", "csv") == "csv"
    content = spreadsheet.lines([COLUMNS, *map(row_of, runs)]) if is_csv else msgspec.json.encode(runs)
    name = f"{eval_id}.{'csv' if is_csv else 'json'}"
    return Response(
        content,
        media_type="text/csv; charset=utf-8" if is_csv else "application/json",
        headers={"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"},
    )


@post(ONE + "/rename")
async def rename_eval(page: CurrentPage, eval_id: FromPath[str]) -> Response[str]:
    form = await page.form()
    try:
        await page.api.post(path_of("evals", eval_id), {"name": entered.text(form, "name")})
    except ApiRefused as refused:
        return await show(page, eval_id, error=refused, values=form)
    return page.see_other(page.within("evals", eval_id), "It has its new name.")


@post(ONE + "/delete")
async def delete_eval(page: CurrentPage, eval_id: FromPath[str]) -> Response[str]:
    await page.form()
    await page.api.delete(path_of("evals", eval_id))
    return page.see_other(page.within("evals"), "The eval and its runs are deleted.")


@post(ONE + "/cancel")
async def cancel_run(page: CurrentPage, eval_id: FromPath[str]) -> Response[str]:
    """`run`: its id."""
    form = await page.form()
    run = await page.api.post(path_of("evals", eval_id, "runs", entered.text(form, "run"), "cancel"))
    return page.see_other(page.within("evals", eval_id), words.canceled(run))


async def show(page: Page, eval_id: str, *, error: ApiRefused | None = None, values: Any = None) -> Response[str]:
    path = path_of("evals", eval_id)
    suite, runs, (trend, shown), (size, wrong) = await at_once(
        page.api.get(path),
        _runs(page, eval_id, page.query("after")),
        _trends(page, path),
        _sample_size(page, path),
    )
    completed = [each for each in runs["data"] if each["status"] == "completed"]
    return page.show(
        "eval.html",
        status=error.status if error else 200,
        suite=suite,
        eval_id=eval_id,
        criteria=[(each, words.sentence(each), words.prompt_of(each)) for each in suite["testing_criteria"]],
        kinds=words.KINDS,
        fields=words.fields_of(suite),
        from_log=words.from_log(suite),
        runs=runs,
        under_way=[] if page.query("after") else _under_way(runs),
        chosen=_chosen(completed),
        trend=shown,
        models=_models(trend, page.query("model")),
        figures=chart(shown["data"]),
        scores={each["id"]: score_of(each) for each in runs["data"]}
        | {each["run_id"]: score_of(each) for each in shown["data"]},
        spent={each["id"]: (tokens(each), cost(each)) for each in runs["data"]},
        directions=words.DIRECTIONS,
        size=size,
        effect=page.query("effect", EFFECT),
        values=Filled(values),
        error=error or wrong,
    )


async def _runs(page: Page, eval_id: str, after: str) -> Json:
    """Newest first."""
    return await page.api.get(f"{path_of('evals', eval_id)}/runs", limit=PAGE, order="desc", after=after)


async def _trends(page: Page, path: str) -> tuple[Json, Json]:
    """Of all models, and of the one that the URL names: what a run changed is told against the one shown before it."""
    model, url = page.query("model"), f"{path}/trend"
    if not model:
        trend = await page.api.get(url, limit=TREND)
        return trend, trend
    one: Json = {"without_model": "true"} if model == NO_MODEL else {"model": model}
    trend, shown = await at_once(page.api.get(url, limit=TREND), page.api.get(url, limit=TREND, **one))
    return trend, shown


def _models(trend: Json, chosen: str) -> list[tuple[str, str]]:
    """That the trend can be of: value and text, the chosen one also where all its runs are older."""
    ran = {each["model"] or NO_MODEL for each in trend["data"]}
    values = ran | ({chosen} if ran and chosen else set())
    return [(each, "answers of the data" if each == NO_MODEL else each) for each in sorted(values)]


async def _sample_size(page: Page, path: str) -> tuple[Json | None, ApiRefused | None]:
    try:
        share = float(page.query("effect", EFFECT)) / 100
        return await page.api.get(f"{path}/sample_size", effect=round(share, 6)), None
    except ValueError:
        return None, ApiRefused(400, {"message": "Enter points, as in 5.", "param": "effect"})
    except ApiRefused as refused:
        if refused.param != "effect":
            raise
        return None, refused


def _under_way(runs: Json) -> list[Json]:
    return [each for each in runs["data"] if each["status"] in UNFINISHED]


def _chosen(completed: list[Json]) -> tuple[str, str]:
    """Baseline and candidate that are chosen beforehand: the newest run and the one before it."""
    ids = [each["id"] for each in completed[:2]]
    return (ids[1], ids[0]) if len(ids) == 2 else ("", "")
