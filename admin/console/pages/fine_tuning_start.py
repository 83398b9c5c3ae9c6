"""The guided start of a fine-tuning job: goal, data, base model, settings, check. Each step is a form; what was said lies in the
URL, so that a step can be gone back to, and sent to somebody else."""

from typing import Any
from urllib.parse import urlencode

from litestar import Response, get, post

from admin.console.api import ApiRefused, Json, at_once
from admin.console.callable import TUNED
from admin.console.page import CurrentPage, Page
from admin.console.pages.fine_tuning_adviser import sized, trainable
from admin.console.training import recommendations
from admin.console.training.checklist import checklist
from admin.console.training.recommendations import CHANGES, MATTERS, change_in
from admin.console.training.situation import estimate_of, method_of, report_of, situation_of
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
    """A training file, and on with it. Scripts have sent it to the API already, and bring its id alone (`file_id`)."""
    form = await page.form()
    wish = Wish.of(form)
    try:
        file_id = str(form.get("file_id") or "") or await _stored(page, form.get("file"))
    except ApiRefused as refused:
        return await _show(page, wish, "data", refused)
    chosen = Wish({**wish.values, "data": file_id})
    return page.see_other(f"{page.within('fine-tuning', 'new')}?{urlencode({**chosen.values, 'step': 'data'})}")


async def _stored(page: Page, file: Any) -> str:
    """The id of a file that came with the form. Raises ApiRefused."""
    stored = await page.api.send("POST", "/files", content=await multipart(file, purpose="fine-tune"))
    if stored.status >= 400:
        raise ApiRefused(stored.status, stored.json["error"])
    return stored.json["id"]


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
    report, problem = await report_of(page, wish)
    return {"files": files["data"], "datasets": built, "report": report, "problem": problem}


async def _model(page: Page, wish: Wish) -> Values:
    registry, traffic, (report, _), advisers = await at_once(
        page.api.get("/registry", limit=100), page.api.get("/model_traffic"), report_of(page, wish), _advisers(page)
    )
    offered = trainable(registry)
    bases = await sized(page, wish, offered, report)
    offered = offered if not page.query("q") else [each for each in offered if page.query("q").lower() in _words(each)]
    base = recommendations.base_model(bases, situation_of(wish, report))
    names = {each["id"] for each in registry["data"]}
    compared = [each for each in page.request.query_params.getall("compare", []) if each in names][:COMPARED]
    told = await at_once(*(estimate_of(page, Wish({**wish.values, "model": each})) for each in compared))
    return {
        "models": offered,
        "base": base,
        "sizes": {each.id: each.parameters for each in bases},
        "chosen": _chosen(wish, base.value if base else "", [each["id"] for each in offered]),
        "advisers": advisers,
        "traffic": {each["model"]: each for each in traffic["data"]},
        "estimates": dict(zip(compared, told, strict=True)),
    }


def _chosen(wish: Wish, recommended: str, offered: list[str]) -> str:
    """Of those that a filter leaves."""
    return next((each for each in (wish.model, recommended) if each in offered), offered[0] if offered else "")


async def _advisers(page: Page) -> list[str]:
    """Models that can be asked for advice, those that were not tuned first."""
    if not page.may_write:
        return []
    names = [each["id"] for each in (await page.api.get("/models"))["data"]]
    return sorted(names, key=lambda name: name.startswith(TUNED))


def _words(model: Json) -> str:
    return f"{model['id']} {model['description']} {model['kind']}".lower()


async def _settings(page: Page, wish: Wish) -> Values:
    (report, problem), advisers = await at_once(report_of(page, wish), _advisers(page))
    found = situation_of(wish, report)
    advised = recommendations.recommended(found)
    asked = wish.filled(advised)
    estimate, refused = await estimate_of(page, asked, report)
    return {
        "asked": asked,
        "advised": {each.name: each for each in advised},
        "warnings": recommendations.warnings(found),
        "tips": recommendations.tips(found),
        "advisers": advisers,
        "report": report,
        "problem": problem,
        "estimate": estimate,
        "refused": refused,
    }


async def _check(page: Page, wish: Wish) -> Values:
    report, problem = await report_of(page, wish)
    asked = wish.filled(recommendations.recommended(situation_of(wish, report)))
    (estimate, refused), budgets = await at_once(estimate_of(page, asked, report), page.api.get("/budgets/current"))
    return {
        "asked": asked,
        "report": report,
        "estimate": estimate,
        "refused": refused or problem,
        "budgets": budgets["data"],
        "checklist": checklist(report, estimate, budgets["data"], has_validation=bool(wish.validation_file)),
        "method": method_of(report),
    }


VIEWS = {"goal": _goal, "data": _data, "model": _model, "settings": _settings, "check": _check}
