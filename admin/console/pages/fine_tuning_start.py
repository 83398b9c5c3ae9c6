"""The guided start of a fine-tuning job: goal, data, base model, settings, check. Each step is a form; what was said lies in the
URL, so that a step can be gone back to, and sent to somebody else."""

from typing import Any
from urllib.parse import urlencode

from litestar import Response, get, post

from admin.console.api import Api, ApiRefused, Json, at_once, path_of
from admin.console.page import CurrentPage, Page
from admin.console.training import recommendations
from admin.console.training.checklist import checklist
from admin.console.training.recommendations import CHANGES, MATTERS, Situation, change_in
from admin.console.training.wish import Wish
from admin.console.uploaded import multipart

STEPS = {
    "goal": "Goal",
    "data": "Data",
    "model": "Base model",
    "settings": "Settings",
    "check": "Check and start",
}
COMPARED = 3
FILES = 200

Values = dict[str, Any]


@get("/projects/{project_id:str}/fine-tuning/new")
async def show_start(page: CurrentPage) -> Response[str]:
    query = page.request.query_params
    return await _show(page, Wish.of(query), query.get("go") or query.get("step", "goal"))


@post("/projects/{project_id:str}/fine-tuning/new")
async def start_job(page: CurrentPage) -> Response[str]:
    form = await page.form()
    wish = Wish.of(form)
    try:
        job = await page.api.post("/fine_tuning/jobs", wish.body(form.get("method") or "supervised"))
    except ApiRefused as refused:
        return await _show(page, wish, "check", refused)
    return page.see_other(page.within("fine-tuning", job["id"]), "The job is made; its files are being validated.")


@post("/projects/{project_id:str}/fine-tuning/files")
async def upload_file(page: CurrentPage) -> Response[str]:
    """A training file, and on with it. Larger ones come through datasets, which show how far they are."""
    form = await page.form()
    wish = Wish.of(form)
    try:
        stored = await page.api.send("POST", "/files", content=await multipart(form.get("file"), purpose="fine-tune"))
        if stored.status >= 400:
            raise ApiRefused(stored.status, stored.json["error"])
    except ApiRefused as refused:
        return await _show(page, wish, "data", refused)
    chosen = Wish({**wish.values, "data": stored.json["id"]})
    return page.see_other(f"{page.within('fine-tuning', 'new')}?{urlencode({**chosen.values, 'step': 'data'})}")


async def _show(page: Page, wish: Wish, step: str, error: ApiRefused | None = None) -> Response[str]:
    """The step that was asked for, or the first one before it that is not answered yet."""
    if step not in STEPS:
        step = "goal"
    elif not wish.data and step not in ("goal", "data"):
        step = "data"
    elif not wish.model and step in ("settings", "check"):
        step = "model"
    values: Values = {"wish": wish, "step": step, "steps": STEPS, "error": error, "links": _links(page, wish)}
    values |= await VIEWS[step](page, wish)
    return page.show("fine_tuning_new.html", status=error.status if error else 200, **values)


def _links(page: Page, wish: Wish) -> dict[str, str]:
    here = page.within("fine-tuning", "new")
    return {step: f"{here}?{urlencode({**wish.values, 'step': step})}" for step in STEPS}


async def _goal(page: Page, wish: Wish) -> Values:
    return {"changes": CHANGES, "matters": MATTERS, "guess": change_in(wish.goal)}


async def _data(page: Page, wish: Wish) -> Values:
    files, datasets = await at_once(
        page.api.get("/files", purpose="fine-tune", limit=FILES), page.api.get("/datasets", limit=100)
    )
    built = [each for each in datasets["data"] if (each["latest_version"] or {}).get("training_file")]
    report, problem = await _report(page, wish)
    return {"files": files["data"], "datasets": built, "report": report, "problem": problem}


async def _model(page: Page, wish: Wish) -> Values:
    registry, traffic = await at_once(page.api.get("/registry", limit=100), page.api.get("/model_traffic"))
    offered = [each for each in registry["data"] if each["trainable"] and each["status"] == "active"]
    offered = offered if not page.query("q") else [each for each in offered if page.query("q").lower() in _words(each)]
    names = {each["id"] for each in registry["data"]}
    compared = [each for each in page.request.query_params.getall("compare", []) if each in names][:COMPARED]
    told = await at_once(*(_estimate(page, Wish({**wish.values, "model": each})) for each in compared))
    return {
        "models": offered,
        "traffic": {each["model"]: each for each in traffic["data"]},
        "estimates": dict(zip(compared, told, strict=True)),
    }


def _words(model: Json) -> str:
    return f"{model['id']} {model['description']} {model['kind']}".lower()


async def _settings(page: Page, wish: Wish) -> Values:
    report, problem = await _report(page, wish)
    found = _situation(wish, report)
    advised = recommendations.recommended(found)
    asked = wish.filled(advised)
    estimate, refused = await _estimate(page, asked, report)
    return {
        "asked": asked,
        "advised": {each.name: each for each in advised},
        "warnings": recommendations.warnings(found),
        "tips": recommendations.tips(found),
        "report": report,
        "problem": problem,
        "estimate": estimate,
        "refused": refused,
    }


async def _check(page: Page, wish: Wish) -> Values:
    report, problem = await _report(page, wish)
    asked = wish.filled(recommendations.recommended(_situation(wish, report)))
    (estimate, refused), budgets = await at_once(_estimate(page, asked, report), page.api.get("/budgets/current"))
    return {
        "asked": asked,
        "report": report,
        "estimate": estimate,
        "refused": refused or problem,
        "budgets": budgets["data"],
        "checklist": checklist(report, estimate, budgets["data"], has_validation=bool(wish.validation_file)),
        "method": _method(report),
    }


VIEWS = {"goal": _goal, "data": _data, "model": _model, "settings": _settings, "check": _check}


async def _report(page: Page, wish: Wish) -> tuple[Json | None, ApiRefused | None]:
    if not wish.data:
        return None, None
    try:
        return (await page.api.get(f"{path_of('files', wish.training_file)}/report"))["report"], None
    except ApiRefused as refused:
        return None, refused


async def _estimate(page: Page, wish: Wish, report: Json | None = None) -> tuple[Json | None, ApiRefused | None]:
    """What it will take, or why nobody can tell. It stores nothing, so a page that is only read may ask for it."""
    if not wish.data or not wish.model:
        return None, None
    report = report or (await _report(page, wish))[0]
    api = Api(page.request, project_id=page.api.project_id, csrf=page.session["csrf_token"])
    try:
        return await api.post("/fine_tuning/estimate", wish.body(_method(report))), None
    except ApiRefused as refused:
        return None, refused


def _method(report: Json | None) -> str:
    return report["method"] if report else "supervised"


def _situation(wish: Wish, report: Json | None) -> Situation:
    change = wish.change if wish.change in CHANGES else change_in(wish.goal)
    return Situation(
        change=change,  # type: ignore[arg-type] one of CHANGES
        matters=wish.matters if wish.matters in MATTERS else "balance",  # type: ignore[arg-type] one of MATTERS
        examples=report["examples"] - report["bad_examples"] if report else 0,
        pairs=_method(report) == "dpo",
        continues=wish.model.startswith("ft:"),
    )
