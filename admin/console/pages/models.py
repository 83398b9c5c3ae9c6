"""Models of a project: the registry, one model with where it came from, and versions side by side."""

import json
import time
from typing import Any
from urllib.parse import urlencode

from litestar import Response, get, post
from litestar.response import Stream

from admin.console.api import ApiRefused, Json, at_once, path_of
from admin.console.graph_layout import layout
from admin.console.key_bounds import LIMITS
from admin.console.page import CurrentPage, Page
from admin.console.pages.key import limits_shown
from admin.console.streaming import passed_on

COMPARED = 12
JUDGED_DAYS, JUDGED_LATEST = 30, 2000
EVALS = 10
"""Of a model, the newest."""
MOST_LIMITS = 2000
"""Names that a project may call; one of them is looked for."""
FORMATS = ("adapter", "merged")
KINDS = {"base": "base model", "adapter": "tuned (adapter)", "full": "tuned (all weights)", "provider": "provider"}
SNIPPET = """\
import os

from openai import OpenAI

client = OpenAI(base_url="{base_url}", api_key=os.environ["TUNEWAY_API_KEY"])
reply = client.chat.completions.create(
    model={model},
    messages=[{{"role": "user", "content": "Hello"}}],
)
print(reply.choices[0].message.content)
"""
BEST_FOR = {
    "base": "A new task: training can begin with it",
    "adapter": "What it was tuned for; more training goes on from there",
    "full": "What it was tuned for; more training goes on from there",
    "provider": "Calls as they are: its weights are elsewhere",
}


@get("/projects/{project_id:str}/models")
async def list_models(page: CurrentPage) -> Response[str]:
    """Three calls, whatever their number."""
    registry, traffic, judged = await at_once(
        page.api.get("/registry", limit=100, after=page.query("after")),
        page.api.get("/model_traffic"),
        _judged(page),
    )
    wanted, kind, words = page.query("status"), page.query("kind"), page.query("q").lower()
    shown = [
        each
        for each in registry["data"]
        if wanted in ("", each["status"]) and kind in ("", each["kind"]) and words in _words(each)
    ]
    return page.show(
        "models.html",
        registry=registry,
        models=shown,
        kinds=KINDS,
        traffic=_by_model(traffic),
        looked=traffic,
        satisfaction=satisfaction(judged["data"]),
    )


@get("/projects/{project_id:str}/models/view")
async def show_model(page: CurrentPage) -> Response[str]:
    model = await page.api.get(_registered(page.query("model")))
    lineage, traffic, judged, job, replicas, evals, limits = await at_once(
        page.api.find(f"/lineage{path_of(model['id'])}", depth=4, breadth=6) if model["own"] else _nothing(),
        page.api.get("/model_traffic"),
        _judged(page),
        page.api.find(path_of("fine_tuning", "jobs", model["job_id"])) if model["job_id"] else _nothing(),
        page.api.get("/models/active"),
        page.api.get("/eval_standings", model=model["id"], limit=EVALS),
        page.api.every(f"/organization/projects/{page.api.project_id}/rate_limits", most=MOST_LIMITS),
    )
    return page.show(
        "model.html",
        model=model,
        kinds=KINDS,
        lineage=lineage,
        drawing=_drawn(lineage),
        served=_by_model(traffic).get(model["id"]),
        looked=traffic,
        judged=[each for each in judged["data"] if each["group"]["model"] == model["id"]],
        job=job,
        replicas=replicas["data"],
        evals=evals["data"],
        limits=_limits(limits, model["id"]),
        limit_names=LIMITS,
        base_url=f"{page.origin}/v1",
        snippet=SNIPPET.format(base_url=f"{page.origin}/v1", model=json.dumps(model["id"], ensure_ascii=False)),
    )


@get("/projects/{project_id:str}/models/compare")
async def compare_models(page: CurrentPage) -> Response[str]:
    """Versions side by side: of the models that are named, or of all of the first page."""
    registry, traffic, judged, jobs = await at_once(
        page.api.get("/registry", limit=100),
        page.api.get("/model_traffic"),
        _judged(page),
        page.api.get("/fine_tuning/jobs", limit=100),
    )
    named = page.request.query_params.getall("model", [])
    chosen = [each for each in registry["data"] if each["id"] in named or (not named and each["own"])][:COMPARED]
    return page.show(
        "models_compared.html",
        models=chosen,
        kinds=KINDS,
        best_for=BEST_FOR,
        traffic=_by_model(traffic),
        satisfaction=satisfaction(judged["data"]),
        jobs={each["id"]: each for each in jobs["data"]},
    )


@get("/projects/{project_id:str}/models/export")
async def export_model(page: CurrentPage) -> Stream:
    """The weights, streamed."""
    wanted = page.query("format")
    if wanted and wanted not in FORMATS:
        raise ApiRefused(400, {"message": f"A model is downloaded as one of {', '.join(FORMATS)}."})
    return await passed_on(page.api, f"{path_of('models', page.query('model'))}/export", format=wanted)


@post("/projects/{project_id:str}/models/deprecate")
async def deprecate_model(page: CurrentPage) -> Response[str]:
    form = await page.form()
    deprecated = form.get("deprecated") == "true"
    await page.api.post(_registered(form.get("model", "")), {"deprecated": deprecated})
    done = "The model is deprecated: it answers, and is not offered any more." if deprecated else "The model is active."
    return page.see_other(_view(page, form.get("model", "")), done)


@post("/projects/{project_id:str}/models/describe")
async def describe_model(page: CurrentPage) -> Response[str]:
    form = await page.form()
    await page.api.post(_registered(form.get("model", "")), {"description": form.get("description", "")})
    return page.see_other(_view(page, form.get("model", "")), "The description is kept.")


@post("/projects/{project_id:str}/models/delete")
async def delete_model(page: CurrentPage) -> Response[str]:
    form = await page.form()
    await page.api.delete(path_of("models", form.get("model", "")))
    return page.see_other(page.within("models"), "The model is deleted: calls of it are refused from now on.")


@post("/projects/{project_id:str}/models/place")
async def place_model(page: CurrentPage) -> Response[str]:
    """Loads it, or unloads it; for owners of the organization."""
    form = await page.form()
    action = "unload" if form.get("action") == "unload" else "load"
    placed = await page.api.post(f"/models/{action}", {"model": form.get("model", "")})
    ready = any(each and each["state"] == "ready" for each in placed["replicas"].values())
    done = "The model is unloaded; a call brings it back." if action == "unload" else "The model is loaded."
    if action == "load" and not ready:
        done = "The model is being loaded."
    return page.see_other(_view(page, form.get("model", "")), done)


def satisfaction(rows: list[Json]) -> dict[str, Json]:
    """Model -> the summary of what people said of it with the most scores, else of any judge. Never a mixture of criteria."""
    best: dict[str, Json] = {}
    for row in rows:
        name, known = row["group"]["model"], best.get(row["group"]["model"])
        rank = (row["source"] == "human", row["scored"])
        if row["scored"] and (known is None or rank > (known["source"] == "human", known["scored"])):
            best[name] = row
    return best


async def _judged(page: Page) -> Json:
    """What was said long ago, of models that have changed since, says little, and costs much to add up."""
    since = int(time.time()) - JUDGED_DAYS * 86_400
    bounds = {"created_after": since, "latest": JUDGED_LATEST, "counts": False}
    return await page.api.get("/judgments/summary", group_by="model", **bounds)


def _limits(rows: list[Json], model: str) -> list[Json]:
    """Of the project: of all models together, and of this one, as far as something is limited."""
    found = [each for each in limits_shown(rows) if each["model"] in ("*", model)]
    return [each for each in found if any(value is not None for value in each["values"].values())]


async def _nothing() -> None:
    return None


def _registered(model: str) -> str:
    return path_of("registry", model)


def _view(page: Page, model: str) -> str:
    return f"{page.within('models', 'view')}?{urlencode({'model': model})}"


def _by_model(traffic: Json) -> dict[str, Json]:
    return {each["model"]: each for each in traffic["data"]}


def _words(model: Json) -> str:
    return f"{model['id']} {model['description']} {model['kind']} {model['owned_by']}".lower()


def _drawn(lineage: Json) -> Any:
    if not lineage:
        return None
    ids = [each["id"] for each in lineage["nodes"]]
    return layout(ids, [(each["from"], each["to"]) for each in lineage["edges"]])
