"""An eval is made: where its items come from, what they are, and what passes.

First the data is looked at; each form after that carries along what was found, so that nothing is read twice.
"""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from litestar import Response, get, post

from admin.console import entered
from admin.console.api import ApiRefused, Json, at_once, path_of
from admin.console.evals import criteria_form, item_fields
from admin.console.evals.criteria_form import Slot
from admin.console.evals.item_fields import Found
from admin.console.evals.words import KINDS, METRICS, OPERATIONS
from admin.console.page import CurrentPage, Filled, Page
from admin.console.uploaded import multipart

NEW = "/projects/{project_id:str}/evals/new"
KEPT = {"purpose": "user_data", "expires_after[anchor]": "created_at", "expires_after[seconds]": "86400"}
"""Of a file that is uploaded to be looked at."""
ITEMS_FILE = "items_file"
"""In an eval's metadata: the file that it was made with."""
FILES = 50
OF_LOG: dict[str, Any] = {
    "type": "object",
    "properties": {
        "input": {"type": "array", "items": {"type": "object"}},
        "output": {"type": "array", "items": {"type": "object"}},
        "model": {"type": "string"},
        "completion_id": {"type": "string"},
    },
}
"""What items of stored completions have."""

Form = Mapping[str, Any]


@get(NEW)
async def show_new(page: CurrentPage) -> Response[str]:
    return await _data(page)


@post(NEW)
async def make_eval(page: CurrentPage) -> Response[str]:
    """`do=make` makes it; anything else shows the form again, `add:` and `remove:` with another criterion or one less."""
    form = await page.form()
    found = item_fields.read(form.get("found"))
    if found is None:
        try:
            found = await _look(page, form)
        except ApiRefused as refused:
            return await _data(page, form, refused)
        return await _criteria(page, found, form)
    slots = criteria_form.slots_of(form)
    if form.get("do") != "make":
        return await _criteria(page, found, form, slots=slots, do=str(form.get("do") or ""))
    try:
        made = await _make(page, found, form)
    except ApiRefused as refused:
        return await _criteria(page, found, form, slots=slots, error=criteria_form.of_field(refused, slots))
    return page.see_other(page.within("evals", made["id"], "start"), "The eval is made. Now run it on a model.")


async def _look(page: Page, form: Form) -> Found:
    """Raises ApiRefused."""
    if form.get("source") == "log":
        return Found(schema=OF_LOG)
    file_id = str(form.get("file_id") or "") or await _upload(page, form.get("file"))
    limit: Any = entered.whole(form, "limit")
    file, looked = await at_once(
        page.api.get(path_of("files", file_id)),
        page.api.post("/evals/import", {"file_id": file_id} | ({"limit": limit} if limit is not None else {})),
    )
    return item_fields.found_in(file, looked, limit)


async def _upload(page: Page, file: Any) -> str:
    """-> its id. Raises ApiRefused."""
    answer = await page.api.send("POST", "/files", content=await multipart(file, **KEPT))
    if answer.status >= 400:
        raise ApiRefused(answer.status, answer.json["error"])
    return answer.json["id"]


async def _make(page: Page, found: Found, form: Form) -> Json:
    """The eval, then its file: criteria that are refused leave no file behind. Raises ApiRefused."""
    body: dict[str, Any] = {
        "name": entered.text(form, "name"),
        "data_source_config": _config(found, form),
        "testing_criteria": criteria_form.criteria_of(form),
    }
    if not body["testing_criteria"]:
        raise ApiRefused(
            400, {"message": "Add a criterion first: without one every answer passes.", "param": "criteria"}
        )
    if metrics := criteria_form.metrics_of(form):
        body["metrics"] = metrics
    made = await page.api.post("/evals", body)
    if found.from_log:
        return made
    try:
        file_id = await _stored(page, found)
        return await page.api.post(path_of("evals", made["id"]), {"metadata": {ITEMS_FILE: file_id}})
    except ApiRefused:
        await page.api.delete(path_of("evals", made["id"]))
        raise


def _config(found: Found, form: Form) -> dict[str, Any]:
    """Raises ApiRefused."""
    if found.from_log:
        return {"type": "logs", "metadata": entered.pairs(form, "metadata", "metadata")}
    return {"type": "custom", "item_schema": item_fields.schema_of(found, form), "include_sample_schema": True}


async def _stored(page: Page, found: Found) -> str:
    """The id of a file that runs take. Raises ApiRefused."""
    if found.ready:
        return found.file_id
    body: dict[str, Any] = {"file_id": found.file_id, "store": True}
    stored = await page.api.post("/evals/import", body | ({"limit": found.limit} if found.limit else {}))
    return stored["file"]["id"]


async def _data(page: Page, form: Form | None = None, error: ApiRefused | None = None) -> Response[str]:
    """The first step: which data."""
    evals, training, datasets = await at_once(
        page.api.get("/files", purpose="evals", limit=FILES, order="desc"),
        page.api.get("/files", purpose="fine-tune", limit=FILES, order="desc"),
        page.api.get("/datasets", limit=FILES),
    )
    built = [each for each in datasets["data"] if (each["latest_version"] or {}).get("training_file")]
    return page.show(
        "eval_new.html",
        status=error.status if error else 200,
        found=None,
        evals=evals["data"],
        training=training["data"],
        datasets=built,
        values=Filled(form),
        error=error,
    )


async def _criteria(
    page: Page,
    found: Found,
    form: Form,
    *,
    slots: list[Slot] | None = None,
    do: str = "",
    error: ApiRefused | None = None,
) -> Response[str]:
    """The second step: what the items are, and what passes."""
    models = [each["id"] for each in (await page.api.get("/models"))["data"]]
    schema = item_fields.schema_of(found, form)
    model = models[0] if models else ""
    begun = slots if slots is not None else criteria_form.changed([], f"add:{_usual(found, schema)}", schema, model)
    names = item_fields.names_of(schema)
    return page.show(
        "eval_new.html",
        status=error.status if error else 200,
        found=found,
        fields=item_fields.rows_of(found, form),
        slots=list(enumerate(criteria_form.changed(begun, do, schema, model))),
        kinds=KINDS,
        operations=list(OPERATIONS.items()),
        metrics=list(METRICS.items()),
        templates=[criteria_form.ANSWER, *(item_fields.template(name) for name in names)],
        clusters=[("", "Each item stands alone"), *((item_fields.template(name), name) for name in names)],
        models=models,
        sandboxed=bool(page.request.app.state.settings.grading.python_runner),
        name=entered.text(form, "name") or PurePath(found.filename).stem.removesuffix(".items"),
        values=Filled(form),
        error=error,
    )


def _usual(found: Found, schema: Json) -> str:
    """The criterion that most would begin with."""
    if found.from_log:
        return "score_model"
    if found.layout == "examples":
        return "text_similarity"
    return "string_check" if item_fields.answer_in(schema) else "score_model"
