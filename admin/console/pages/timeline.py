"""What came to be in a project: datasets, trainings and versions of models, with what they took."""

from litestar import Response, get

from admin.console.api import at_once
from admin.console.page import CurrentPage
from admin.console.training.timeline import entries, sums

MOST = 100
"""Of each kind, the newest."""


@get("/projects/{project_id:str}/timeline")
async def show_timeline(page: CurrentPage) -> Response[str]:
    """Three calls, however much there is."""
    jobs, registry, datasets = await at_once(
        page.api.get("/fine_tuning/jobs", limit=MOST),
        page.api.get("/registry", limit=MOST),
        page.api.get("/datasets", limit=MOST),
    )
    made = [each for each in registry["data"] if each["own"]]
    return page.show(
        "timeline.html",
        entries=entries(jobs["data"], made, datasets["data"]),
        sums=sums(jobs["data"], made),
        called=[each["used"] for each in registry["data"]],
        is_cut=jobs["has_more"] or registry["has_more"] or datasets["has_more"],
        most=MOST,
    )
