"""Runs of an eval are started: on one model or up to four at once, with the data and the questions of the last run."""

from collections.abc import Mapping
from typing import Any

from litestar import Response, get, post
from litestar.params import FromPath

from admin.console import entered
from admin.console.api import ApiRefused, Json, at_once, path_of
from admin.console.callable import callable_models
from admin.console.evals import item_fields, run_form, words
from admin.console.page import CurrentPage, Filled, Page
from admin.console.pages.eval_new import ITEMS_FILE
from admin.console.pages.evals import ONE

START = ONE + "/start"
FILES = 100


@get(START)
async def show_start(page: CurrentPage, eval_id: FromPath[str]) -> Response[str]:
    """`?models=a&models=b` chooses them beforehand."""
    suite, last = await _suite(page, eval_id)
    fields = run_form.fields_of(suite, last, (suite["metadata"] or {}).get(ITEMS_FILE, ""))
    chosen = page.request.query_params.getall("models", []) or ([last["model"]] if last else [])
    fields |= dict(zip(run_form.MODELS, chosen, strict=False))
    return await _form(page, suite, last, fields)


@post(START)
async def start_runs(page: CurrentPage, eval_id: FromPath[str]) -> Response[str]:
    form = await page.form()
    suite, last = await _suite(page, eval_id)
    try:
        made = await _start(page, suite, form, run_form.inline_items(last))
    except ApiRefused as refused:
        return await _form(page, suite, last, form, refused)
    done = "The run begins." if len(made) == 1 else f"{len(made)} runs begin."
    return page.see_other(page.within("evals", eval_id), done)


async def _suite(page: Page, eval_id: str) -> tuple[Json, Json | None]:
    """It and its newest run."""
    path = path_of("evals", eval_id)
    suite, runs = await at_once(page.api.get(path), page.api.get(f"{path}/runs", limit=1, order="desc"))
    return suite, next(iter(runs["data"]), None)


async def _start(page: Page, suite: Json, form: Mapping[str, Any], inline: list[Any] | None) -> list[Json]:
    """All of the runs, or none. Raises ApiRefused."""
    models = run_form.models_of(form)
    if not models:
        raise ApiRefused(400, {"message": "Choose a model.", "param": run_form.MODELS[0]})
    runs = f"{path_of('evals', suite['id'])}/runs"
    made: list[Json] = []
    for model in models:
        try:
            made.append(await page.api.post(runs, run_form.body_of(form, suite, model, inline)))
        except ApiRefused as refused:
            for run in made:
                await page.api.delete(f"{runs}{path_of(run['id'])}")
            raise run_form.of_field(refused, form, model) from None
    return made


async def _form(
    page: Page, suite: Json, last: Json | None, fields: Mapping[str, Any], error: ApiRefused | None = None
) -> Response[str]:
    models, files, size = await at_once(
        callable_models(page),
        page.api.get("/files", purpose="evals", limit=FILES, order="desc"),
        page.api.get(f"{path_of('evals', suite['id'])}/sample_size", effect=0.05),
    )
    schema = suite["data_source_config"].get("schema", {}).get("properties", {}).get("item", {})
    inline = run_form.inline_items(last)
    offered = await _offered(page, files["data"], entered.text(fields, "data"))
    lists = ["input"] if words.from_log(suite) else item_fields.messages_in(schema)
    return page.show(
        "eval_start.html",
        status=error.status if error else 200,
        suite=suite,
        from_log=words.from_log(suite),
        models=models,
        files=offered,
        inline=len(inline) if inline is not None else None,
        data_offered=run_form.is_offered(entered.text(fields, "data"), offered, inline),
        lists=[(name, name) for name in lists],
        templates=[item_fields.template(name) for name in item_fields.names_of(schema)],
        size=size,
        values=Filled(fields),
        error=error,
    )


async def _offered(page: Page, newest: list[Json], chosen: str) -> list[Json]:
    """The newest files, and the chosen one where it is an older one."""
    if chosen in ("", run_form.AGAIN) or any(each["id"] == chosen for each in newest):
        return newest
    older = await page.api.find(path_of("files", chosen))
    return [*newest, older] if older else newest
