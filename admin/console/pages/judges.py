"""Judges of a project: how far each is trusted, made by a form, held against people."""

from collections.abc import Mapping
from typing import Any

from litestar import Response, get, post
from litestar.params import FromPath

from admin.console import judge_form
from admin.console.api import ApiRefused, at_once, path_of
from admin.console.page import CurrentPage, Filled, Page
from admin.console.rules.form import WHOLE, edited, rows_of
from admin.console.rules.kinds import CHOICES
from admin.console.rules.trial import tried

ALL = "/projects/{project_id:str}/judges"
ONE = ALL + "/{judge_id:str}"
EDITS = ("add", "remove", "json", "fields")
"""What a form of rules is asked for before it is kept."""
HEADING = -1
"""In the place of a rule: the heading of all of them has the focus."""
MOST_PROPOSED = 20
OWN = ("helpful", "accurate", "clear", "safe", "complete")
"""Criteria that every project has."""


@get(ALL)
async def list_judges(page: CurrentPage) -> Response[str]:
    """Figures come behind the list, which does not wait for them."""
    archived = bool(page.query("archived"))
    if page.is_fragment:
        judges, standings = await at_once(
            page.api.every("/judges", most=500, archived=archived or None), page.api.get("/judge_standings")
        )
        by_id = {each["id"]: each for each in standings["data"]}
        return page.show("judge_table.html", judges=judges, standings=by_id, archived=archived)
    judges = await page.api.every("/judges", most=500, archived=archived or None)
    return page.show("judges.html", judges=judges, standings={}, archived=archived)


@get(ALL + "/new")
async def new_judge(page: CurrentPage) -> Response[str]:
    """Of rules with those of `rules_json` and each `rule` that the URL names, so that another page may propose some."""
    form: dict[str, Any] = {"type": page.query("type", "llm"), "rate": "10", "name": page.query("name")}
    if written := page.query(WHOLE):
        form[WHOLE] = written
        try:
            form = edited(form, "fields")
        except ApiRefused as refused:
            return await _form(page, form, refused)
    for kind in page.request.query_params.getall("rule", [])[:MOST_PROPOSED]:
        form = edited(form | {"new_rule": kind}, "add")
    return await _form(page, form)


@post(ALL + "/new")
async def make_judge(page: CurrentPage) -> Response[str]:
    form = await page.form()
    if do := str(form.get("do") or ""):
        return await _edited(page, form, do)
    try:
        made = await page.api.post("/judges", judge_form.body_of(form))
    except ApiRefused as refused:
        return await _form(page, form, refused)
    return page.see_other(page.within("judges", made["id"]), "The judge is made.")


@get(ONE)
async def show_judge(page: CurrentPage, judge_id: FromPath[str]) -> Response[str]:
    return await _show(page, judge_id)


@get(ONE + "/edit")
async def edit_judge(page: CurrentPage, judge_id: FromPath[str]) -> Response[str]:
    judge = await page.api.get(path_of("judges", judge_id))
    return await _form(page, judge_form.fields_of(judge), judge_id=judge["id"])


@post(ONE + "/edit")
async def change_judge(page: CurrentPage, judge_id: FromPath[str]) -> Response[str]:
    """Another criterion, model, prompt or rule makes the next version."""
    form = await page.form()
    if do := str(form.get("do") or ""):
        return await _edited(page, form, do, judge_id=judge_id)
    try:
        before = await page.api.get(path_of("judges", judge_id))
        after = await page.api.post(path_of("judges", judge_id), _changes(before, judge_form.body_of(form)))
    except ApiRefused as refused:
        return await _form(page, form, refused, judge_id=judge_id)
    is_next = after["version"]["number"] != before["version"]["number"]
    done = (
        f"Version {after['version']['number']} judges from now on; it begins without trust."
        if is_next
        else "It is changed."
    )
    return page.see_other(page.within("judges", after["id"]), done)


@post(ONE + "/calibrate")
async def calibrate(page: CurrentPage, judge_id: FromPath[str]) -> Response[str]:
    form = await page.form()
    body = {"criterion": form["criterion"]} if form.get("criterion") else {}
    try:
        await page.api.post(path_of("judges", judge_id, "calibrate"), body)
    except ApiRefused as refused:
        return await _show(page, judge_id, refused)
    done = "It is held against people; what comes of it is here in a moment."
    return page.see_other(page.within("judges", judge_id), done)


@post(ONE + "/archive")
async def archive_judge(page: CurrentPage, judge_id: FromPath[str]) -> Response[str]:
    await page.form()
    await page.api.delete(path_of("judges", judge_id))
    return page.see_other(page.within("judges"), "The judge is archived: it judges nothing any more.")


async def _show(page: Page, judge_id: str, error: ApiRefused | None = None) -> Response[str]:
    judge, trust, lag, versions = await at_once(
        page.api.get(path_of("judges", judge_id)),
        page.api.get(path_of("judges", judge_id, "trust")),
        page.api.get(path_of("judges", judge_id, "lag")),
        page.api.get(path_of("judges", judge_id, "versions"), limit=20),
    )
    values: dict[str, Any] = {"judge": judge, "trust": trust, "lag": lag, "versions": versions["data"], "error": error}
    return page.show("judge.html", status=error.status if error else 200, **values)


async def _edited(page: Page, form: Mapping[str, Any], do: str, judge_id: str | None = None) -> Response[str]:
    """The form again, with a rule more or less, or with what its rules say of an answer."""
    try:
        if do.partition(":")[0] in EDITS:
            changed = edited(form, do)
            return await _form(page, changed, judge_id=judge_id, focus=_focus(do, len(rows_of(changed))))
        return await _form(page, form, judge_id=judge_id, trial=await tried(page.api, form))
    except ApiRefused as refused:
        return await _form(page, form, refused, judge_id=judge_id, is_edit=True)


def _focus(do: str, count: int) -> int | None:
    """The rule that was added, or the one that took the place of another; None: the button keeps it."""
    match do.partition(":"):
        case "add", _, _:
            return count - 1
        case "remove", _, place:
            return int(place) if place.isdecimal() and int(place) < count else HEADING
        case "fields", _, _:
            return HEADING
        case _:
            return None


async def _form(
    page: Page,
    form: Mapping[str, Any],
    error: ApiRefused | None = None,
    *,
    judge_id: str | None = None,
    **more: Any,
) -> Response[str]:
    """Args: more: `trial` of rules; `focus`, the rule that has it; `is_edit`, the error is of a button among the rules."""
    if error and (error.param or "").startswith("spec.rules") and str(form.get(WHOLE) or "").strip():
        error.param = WHOLE
    criteria, models = await at_once(page.api.every("/criteria", most=200), page.api.get("/models"))
    values = {"trial": None, "focus": None, "is_edit": False} | more
    return page.show(
        "judge_form.html",
        status=error.status if error else 200,
        values=Filled(form),
        rules=rows_of(form),
        kinds=CHOICES,
        criteria=sorted({*(each["name"] for each in criteria), *OWN}),
        models=[each["id"] for each in models["data"]],
        judge_id=judge_id,
        error=error,
        **values,
    )


def _changes(before: Mapping[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """Without what stays: the criterion named anew would be its newest version."""
    if wanted.get("criterion") == before["version"]["criterion"]:
        del wanted["criterion"]
    return wanted
