"""One run of an eval: how far it is, how good the answers are, and each of them."""

from typing import Any

from litestar import Response, get, post
from litestar.params import FromPath

from admin.console.api import Json, at_once, path_of
from admin.console.evals import answers, figures, words
from admin.console.evals.sources import source
from admin.console.page import CurrentPage, Page

ONE = "/projects/{project_id:str}/evals/{eval_id:str}/runs/{run_id:str}"
PAGE = 25
"""Items."""
UNFINISHED = ("queued", "in_progress")
FILTERS = {"": "All", "fail": "Failed", "pass": "Passed", "error": "Not graded"}
"""By the API's status."""
OTHERS = 20
"""Runs that this one may be compared with, the newest."""
REMEDIES = {
    "insufficient_quota": "Raise the budget of the project\u2019s key \u201cEvals\u201d, then start the run again.",
    "file_not_found": "Choose another file, then start the run again.",
    "invalid_data": "Mend the data, then start the run again.",
    "no_data": "Choose data that has items, then start the run again.",
    "too_many_items": "Take fewer items or repeats, then start the run again.",
}


@get(ONE)
async def show_run(page: CurrentPage, eval_id: FromPath[str], run_id: FromPath[str]) -> Response[str]:
    path, wanted = path_of("evals", eval_id), page.query("status")
    own = f"{path}{path_of('runs', run_id)}"
    suite, run, items, others = await at_once(
        page.api.get(path),
        page.api.get(own),
        page.api.get(f"{own}/output_items", limit=PAGE, after=page.query("after"), status=wanted),
        page.api.get(f"{path}/trend", limit=OTHERS),
    )
    return page.show("eval_run.html", **_shown(suite, run, items), others=_others(others, run_id))


@get(ONE + "/live")
async def show_progress(page: CurrentPage, eval_id: FromPath[str], run_id: FromPath[str]) -> Response[str]:
    """How far it is; once it has ended, the whole page."""
    run = await page.api.get(path_of("evals", eval_id, "runs", run_id))
    answer = page.show("eval_run_live.html", run=run)
    if run["status"] not in UNFINISHED:
        answer.headers["hx-refresh"] = "true"
    return answer


@post(ONE + "/cancel")
async def cancel_run(page: CurrentPage, eval_id: FromPath[str], run_id: FromPath[str]) -> Response[str]:
    await page.form()
    run = await page.api.post(path_of("evals", eval_id, "runs", run_id, "cancel"))
    return page.see_other(url(page, eval_id, run_id), words.canceled(run))


@post(ONE + "/delete")
async def delete_run(page: CurrentPage, eval_id: FromPath[str], run_id: FromPath[str]) -> Response[str]:
    await page.form()
    await page.api.delete(path_of("evals", eval_id, "runs", run_id))
    return page.see_other(page.within("evals", eval_id), "The run is deleted with what was asked and answered.")


def url(page: Page, eval_id: str, run_id: str, *parts: str) -> str:
    return page.within("evals", eval_id, "runs", run_id, *parts)


def _shown(suite: Json, run: Json, items: Json) -> dict[str, Any]:
    counts = run["result_counts"]
    graded = counts["passed"] + counts["failed"]
    return {
        "suite": suite,
        "run": run,
        "active": run["status"] in UNFINISHED,
        "remedy": REMEDIES.get(run["error"]["code"], "Start the run again."),
        "score": figures.score_of(run),
        "quality": figures.quality(run),
        "figures": figures.figures(run, criteria=False),
        "cost": figures.cost(run),
        "source": source(run),
        "criteria": _criteria(suite, run),
        "ungraded": counts["errored"],
        "coverage": graded / (graded + counts["errored"]) if graded + counts["errored"] else None,
        "items": items,
        "rows": [_row(suite, each) for each in items["data"]],
        "filters": FILTERS,
    }


def _criteria(suite: Json, run: Json) -> list[dict[str, Any]]:
    """Of each: what it says, how many passed, and its mean score."""
    measured = {each["id"]: each for each in (run["metrics"] or {}).get("criteria", [])}
    counts = {each["testing_criteria"]: each for each in run["per_testing_criteria_results"]}
    return [
        {
            "criterion": each,
            "kind": words.KINDS.get(each["type"], each["type"]),
            "sentence": words.sentence(each),
            "counts": counts[each["id"]],
            "figures": measured.get(each["id"]),
        }
        for each in suite["testing_criteria"]
    ]


def _row(suite: Json, item: Json) -> dict[str, Any]:
    return {
        "item": item,
        "question": answers.question(item),
        "answer": answers.answer(item),
        "problem": answers.problem(item),
        "verdicts": answers.verdicts(suite["testing_criteria"], item),
    }


def _others(trend: Json, run_id: str) -> list[tuple[str, str]]:
    """Completed runs, the newest first: id and name."""
    return [(each["run_id"], figures.title(each)) for each in reversed(trend["data"]) if each["run_id"] != run_id]
