"""Whether a tuned model is better than what it was made of: an eval on the data that was held out, made with one click."""

from dataclasses import dataclass
from typing import Any, ClassVar

from litestar import Response, get, post
from litestar.params import FromPath

from admin.console import entered
from admin.console.api import ApiRefused, Json, at_once, path_of
from admin.console.callable import callable_models
from admin.console.evals import compared, figures
from admin.console.page import CurrentPage, Page
from admin.console.streaming import beginning, opened
from admin.console.training import rubric
from admin.console.training.held_out import CRITERION, ITEM_SCHEMA, MOST, items

OF_JOB = "fine_tuning_job"
"""In an eval's metadata."""
MOST_BYTES = 2_000_000
"""Of the validation file that are read."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What is known by now."""

    eval: Json | None = None
    runs: tuple[Json, ...] = ()
    """Of the base and of the tuned model, as far as they were made."""
    comparison: Json | None = None
    judges: tuple[Json, ...] = ()
    """Models that may judge, as long as there is no eval."""
    rubrics: ClassVar[dict[str, str]] = rubric.HOW

    @property
    def told(self) -> compared.Change | None:
        """What decides; None where nothing can be said yet."""
        paired = self.comparison and self.comparison["paired"]
        return compared.primary(self.comparison) if paired else None

    @property
    def others(self) -> list[compared.Change]:
        return compared.secondary(self.comparison) if self.comparison else []

    @property
    def quality(self) -> Json | None:
        """Of the tuned model, which is the last."""
        return figures.quality(self.runs[-1]) if self.runs else None

    @property
    def active(self) -> bool:
        return any(each["status"] in ("queued", "in_progress") for each in self.runs)


async def evaluation(page: Page, job: Json) -> Evaluation:
    """Of a job that has a model: four calls at the most."""
    found = await page.api.get("/evals", limit=1, order="desc", **{f"metadata[{OF_JOB}]": job["id"]})
    if not found["data"]:
        asks = page.may_write and job["validation_file"]
        models = await callable_models(page) if asks else []
        both = (job["model"], job["fine_tuned_model"])
        return Evaluation(judges=tuple(each for each in models if each["id"] not in both))
    suite = found["data"][0]
    runs = (await page.api.get(f"{path_of('evals', suite['id'])}/runs", limit=20, order="desc"))["data"]
    base, tuned = (_run_of(runs, model) for model in (job["model"], job["fine_tuned_model"]))
    both = tuple(each for each in (base, tuned) if each is not None)
    compared = None
    if base and tuned and base["status"] == tuned["status"] == "completed":
        path = f"{path_of('evals', suite['id'], 'runs', tuned['id'])}/compare"
        compared = (await page.api.get(path, **{"with": base["id"]}))["comparison"]
    return Evaluation(suite, both, compared)


@get("/projects/{project_id:str}/fine-tuning/{job_id:str}/evaluation")
async def show_evaluation(page: CurrentPage, job_id: FromPath[str]) -> Response[str]:
    """How far it is; once it has ended, the whole page."""
    job = await page.api.get(path_of("fine_tuning", "jobs", job_id))
    found = await evaluation(page, job)
    answer = page.show("fine_tuning/judging.html", evaluation=found, job=job)
    if not found.active:
        answer.headers["hx-refresh"] = "true"
    return answer


@post("/projects/{project_id:str}/fine-tuning/{job_id:str}/evaluation")
async def evaluate(page: CurrentPage, job_id: FromPath[str]) -> Response[str]:
    """Both models answer what was held out; `judge` scores the answers, if one is named. Raises ApiRefused: there is nothing
    to compare with."""
    form = await page.form()
    judge = entered.text(form, "judge")
    judged = rubric.criteria(judge, entered.text(form, "rubric")) if judge else []
    job = await page.api.get(path_of("fine_tuning", "jobs", job_id))
    content = await _held_out(page, job)
    suite = await page.api.post(
        "/evals",
        {
            "name": f"Held-out data of {job['user_provided_suffix'] or job['id']}",
            "metadata": {OF_JOB: job["id"]},
            "data_source_config": {"type": "custom", "item_schema": ITEM_SCHEMA, "include_sample_schema": True},
            "testing_criteria": [CRITERION, *judged],
            "metrics": {"primary": CRITERION["name"]},
        },
    )
    models = (job["model"], job["fine_tuned_model"])
    url = f"{path_of('evals', suite['id'])}/runs"
    await at_once(*(page.api.post(url, _run(model, content)) for model in models))
    done = f"Both models answer {len(content)} held-out questions."
    return page.see_other(page.within("fine-tuning", job_id) + "#evaluation", done)


async def _held_out(page: Page, job: Json) -> list[dict[str, Any]]:
    if not job["validation_file"] or not job["fine_tuned_model"]:
        message = (
            "This job has no validation data, so there is nothing that it has not learnt to compare with: make an eval."
        )
        raise ApiRefused(400, {"message": message})
    answer = await opened(page.api, f"{path_of('files', job['validation_file'])}/content")
    content = await beginning(answer.pieces, MOST_BYTES)
    found = items(content, whole=len(content) < MOST_BYTES)
    if not found:
        raise ApiRefused(400, {"message": "The validation file has no answer in words to compare with: make an eval."})
    return found[:MOST]


def _run(model: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    source = {"type": "file_content", "content": content}
    asked = {"type": "item_reference", "item_reference": "item.input"}
    limits = {"temperature": 0, "max_completion_tokens": 512}
    return {
        "name": model[:500],
        "data_source": {
            "type": "completions",
            "model": model,
            "input_messages": asked,
            "source": source,
            "sampling_params": limits,
        },
    }


def _run_of(runs: list[Json], model: str) -> Json | None:
    return next((each for each in runs if each["model"] == model), None)
