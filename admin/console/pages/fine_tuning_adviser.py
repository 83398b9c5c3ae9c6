"""A model's advice on a training, beside that of the rules: a call of the person's own, which is logged and paid for like any other.

Whatever goes wrong with it, the rules' recommendation is there.
"""

import asyncio
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from litestar import Response, post

from admin.console.api import Answer, ApiRefused, Json, at_once
from admin.console.page import CurrentPage, Page
from admin.console.training import adviser, recommendations
from admin.console.training.adviser import NotUsable, Proposal
from admin.console.training.checklist import chosen_option
from admin.console.training.recommendations import Base, Recommended, Situation
from admin.console.training.situation import estimate_of, report_of, situation_of
from admin.console.training.wish import Wish

SECONDS = 60.0
"""The longest that an answer is waited for: whoever asks has the page before them."""
SIZED = 8
"""Models whose size is looked up."""


@dataclass(frozen=True, slots=True)
class Advised:
    """What came of the call."""

    exchange_id: str = ""
    cost_usd: str = ""
    proposal: Proposal | None = None
    problem: str = ""
    """Why there is no proposal: a sentence."""


@post("/projects/{project_id:str}/fine-tuning/advice")
async def ask_adviser(page: CurrentPage) -> Response[str]:
    form = await page.form()
    wish, name = Wish.of(form), form.get("adviser", "")
    (report, problem), registry = await at_once(report_of(page, wish), page.api.get("/registry", limit=100))
    found, offered = situation_of(wish, report), trainable(registry)
    bases = await sized(page, wish, offered, report)
    rules = with_base(found, bases, wish)
    advised = await _advice(page, name, adviser.material(wish, found, report, _shown(bases), rules), bases)
    return page.show(
        "fine_tuning_advice.html",
        wish=wish,
        name=name,
        advised=advised,
        problem=problem,
        rows=adviser.rows(advised.proposal, rules) if advised.proposal else [],
        rules=rules,
        labels=adviser.LABELS,
        step_url=_step_url(page, wish),
        adopted_url=_step_url(page, adviser.adopted(wish, advised.proposal)) if advised.proposal else "",
    )


def trainable(registry: Json) -> list[Json]:
    return [each for each in registry["data"] if each["trainable"] and each["status"] == "active"]


async def sized(page: Page, wish: Wish, offered: list[Json], report: Json | None) -> list[Base]:
    """Of the first SIZED, how large they are. Base models come first in the registry."""
    asked = offered[:SIZED] if report else []
    told = await at_once(*(estimate_of(page, Wish({**wish.values, "model": each["id"]}), report) for each in asked))
    known = {each["id"]: estimate for each, (estimate, _) in zip(asked, told, strict=True)}
    return [_base(each, known.get(each["id"])) for each in offered]


def with_base(found: Situation, bases: list[Base], wish: Wish) -> list[Recommended]:
    """The rules' recommendation, the model that they would begin with first."""
    base = recommendations.base_model(bases, found)
    chosen = [Recommended("base_model", wish.model, "The one that you have chosen.")] if wish.model else []
    return [*([base] if base else chosen), *recommendations.recommended(found)]


async def _advice(page: Page, name: str, material: dict[str, Any], bases: list[Base]) -> Advised:
    models = [each.id for each in bases]
    if not models:
        return Advised(problem="No model can be trained here, so there is nothing to advise on.")
    background = page.request.app.state.services.background
    call = background.spawn(_asked(page, name, material, models), "a model's advice on a training")
    try:
        async with asyncio.timeout(SECONDS):
            # It ends, and is recorded as it ended, also where nobody waits any more: its provider charges for it.
            answer = await asyncio.shield(call)
    except TimeoutError:
        return Advised(problem=f"{name} did not answer within {SECONDS:g} seconds; it may be charged all the same.")
    if answer.status >= 400:
        refused = ApiRefused(answer.status, answer.json["error"])
        return Advised(problem=f"{name} could not be asked. {refused}")
    told = {key.decode(): value.decode() for key, value in answer.headers}
    of_call = told.get("x-request-id", ""), told.get("x-tuneway-cost", "")
    try:
        return Advised(*of_call, proposal=adviser.read(answer.json, models))
    except NotUsable as useless:
        return Advised(*of_call, problem=str(useless))


async def _asked(page: Page, name: str, material: dict[str, Any], models: list[str]) -> Answer:
    """Whatever was answered; an engine that cannot be held to a schema is asked once more without."""
    held = adviser.question(name, material, models, with_format=True)
    answer = await page.api.send("POST", "/chat/completions", body=held)
    if answer.status != 400:
        return answer
    free = adviser.question(name, material, models, with_format=False)
    return await page.api.send("POST", "/chat/completions", body=free)


def _base(model: Json, estimate: Json | None) -> Base:
    fits = chosen_option(estimate)["fits"] if estimate else None
    parameters = estimate["base_parameters"] if estimate else None
    return Base(model["id"], model["kind"] != "base", parameters, fits)


def _shown(bases: list[Base]) -> list[dict[str, Any]]:
    return [
        {"id": each.id, "tuned_before": each.tuned, "parameters": each.parameters, "fits_into_memory": each.fits}
        for each in bases
    ]


def _step_url(page: Page, wish: Wish) -> str:
    """On with the guided start."""
    step = "settings" if wish.model else "model"
    return f"{page.within('fine-tuning', 'new')}?{urlencode({**wish.values, 'step': step})}"
