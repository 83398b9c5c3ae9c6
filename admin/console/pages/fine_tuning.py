"""Fine-tuning jobs: the list, and one of them as it is trained."""

from datetime import UTC, datetime
from typing import Any

from litestar import Response, get, post
from litestar.params import FromPath

from admin.console.api import ApiRefused, Json, at_once, path_of
from admin.console.page import CurrentPage
from admin.console.pages.job_evaluation import Evaluation, evaluation
from admin.console.training.advice import advice, best_checkpoint

ACTIVE = ("validating_files", "queued", "running")
JOBS = "/fine_tuning/jobs"
EVENTS = 100
ACTIONS = {
    "pause": "The job pauses after this step; nothing is lost.",
    "resume": "The job goes on.",
    "cancel": "The job stops after this step; its last checkpoint can be called.",
}
LOSSES = {
    "train_loss": "Training loss",
    "valid_loss": "Validation loss, one batch",
    "full_valid_loss": "Validation loss, whole file",
}
RATES = {"learning_rate": "Learning rate", "tokens_per_second": "Tokens per second"}


@get("/projects/{project_id:str}/fine-tuning")
async def list_jobs(page: CurrentPage) -> Response[str]:
    jobs = await page.api.get(JOBS, limit=20, after=page.query("after"))
    active = any(each["status"] in ACTIVE for each in jobs["data"])
    return page.show("fine_tuning_jobs.html", jobs=jobs, active=active, progress=progress)


@get("/projects/{project_id:str}/fine-tuning/{job_id:str}")
async def show_job(page: CurrentPage, job_id: FromPath[str]) -> Response[str]:
    """Asked by htmx it is the part that moves; when the job's status is another by then, the whole page."""
    job, steps, events, checkpoints = await at_once(
        page.api.get(_of(job_id)),
        page.api.get(_of(job_id, "metrics")),
        page.api.get(_of(job_id, "events"), limit=EVENTS),
        page.api.get(_of(job_id, "checkpoints"), limit=50),
    )
    values = _values(job, steps["data"], events["data"], checkpoints["data"])
    if page.is_fragment:
        answer = page.show("fine_tuning_live.html", **values)
        if page.query("status") != job["status"]:
            answer.headers["hx-refresh"] = "true"
        return answer
    judged = await evaluation(page, job) if job["fine_tuned_model"] else Evaluation()
    return page.show("fine_tuning_job.html", **values, evaluation=judged, base_url=f"{page.origin}/v1")


@post("/projects/{project_id:str}/fine-tuning/{job_id:str}/{action:str}")
async def change_job(page: CurrentPage, job_id: FromPath[str], action: FromPath[str]) -> Response[str]:
    await page.form()
    if action not in ACTIONS:
        raise ApiRefused(404, {"message": f"A job cannot be told to {action}."})
    await page.api.post(_of(job_id, action))
    return page.see_other(page.within("fine-tuning", job_id), ACTIONS[action])


def progress(job: Json) -> float:
    """Of its steps, 0 to 1."""
    if job["status"] == "succeeded":
        return 1.0
    last = job["last_step"]
    return last["step"] / last["total_steps"] if last and last.get("total_steps") else 0.0


def curves(steps: list[Json], names: dict[str, str]) -> Json:
    """For the chart, of what was measured at all."""
    measured = [name for name in names if any(each.get(name) is not None for each in steps)]
    series = [{"label": names[name], "values": [each.get(name) for each in steps]} for name in measured]
    return {"x": [each["step"] for each in steps], "series": series, "time": False, "xLabel": "Step"}


def _values(job: Json, steps: list[Json], events: list[Json], checkpoints: list[Json]) -> dict[str, Any]:
    last = job["last_step"] or {}
    return {
        "job": job,
        "last": last,
        "active": job["status"] in ACTIVE,
        "progress": progress(job),
        "charts": [
            ("losses", "Loss", curves(steps, LOSSES)),
            ("rates", "Learning rate", curves(steps, {"learning_rate": RATES["learning_rate"]})),
            ("speed", "Tokens per second", curves(steps, {"tokens_per_second": RATES["tokens_per_second"]})),
        ],
        "advice": advice(steps, has_validation=bool(job["validation_file"]), device=_device(job)) if steps else [],
        "seconds_left": _left(job),
        "events": [each for each in events if each["type"] != "metrics"],
        "checkpoints": checkpoints,
        "best": best_checkpoint(checkpoints),
    }


def _left(job: Json) -> float | None:
    finish = job["estimated_finish"]
    return None if finish is None else max(0.0, finish - datetime.now(UTC).timestamp())


def _device(job: Json) -> str:
    return "cpu" if str(job["training"].get("device", "")).startswith("CPU") else ""


def _of(job_id: str, *more: str) -> str:
    return path_of("fine_tuning", "jobs", job_id, *more)
