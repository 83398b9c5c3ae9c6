"""What a person may call in the page's project: models, those that were trained there, and routes."""

from typing import Any

from admin.console.api import Json, at_once
from admin.console.page import Page

TUNED = "ft:"


async def callable_models(page: Page) -> list[dict[str, Any]]:
    """What the API lists, tuned models first and the newest first; of a tuned one also `base`, the model that it was made
    of. Two calls, whatever their number."""
    models, jobs = await at_once(page.api.get("/models"), page.api.get("/fine_tuning/jobs", limit=100))
    bases = {job["fine_tuned_model"]: job["model"] for job in jobs["data"] if job["fine_tuned_model"]}
    found = [each | {"base": _base(each["id"], bases)} for each in models["data"]]
    return sorted(found, key=lambda each: (each["base"] is None, -each["created"] if each["base"] else 0, each["id"]))


def _base(model: str, bases: dict[str, Json]) -> str | None:
    """A checkpoint's name goes on where its job's ends; an older job is known by the name alone."""
    if not model.startswith(TUNED):
        return None
    known = next((base for tuned, base in bases.items() if model.startswith(tuned)), None)
    return known or model.split(":")[1]
