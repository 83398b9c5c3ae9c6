"""What is known before a training: the data's report, what it will take, and what both say of the settings."""

from admin.console.api import Api, ApiRefused, Json, path_of
from admin.console.page import Page
from admin.console.training.recommendations import CHANGES, MATTERS, Situation, change_in
from admin.console.training.wish import Wish


async def report_of(page: Page, wish: Wish) -> tuple[Json | None, ApiRefused | None]:
    """Of the training file, or why there is none."""
    if not wish.data:
        return None, None
    try:
        return (await page.api.get(f"{path_of('files', wish.training_file)}/report"))["report"], None
    except ApiRefused as refused:
        return None, refused


async def estimate_of(page: Page, wish: Wish, report: Json | None = None) -> tuple[Json | None, ApiRefused | None]:
    """What it will take, or why nobody can tell. It stores nothing, so a page that is only read may ask for it."""
    if not wish.data or not wish.model:
        return None, None
    report = report or (await report_of(page, wish))[0]
    api = Api(page.request, project_id=page.api.project_id, csrf=page.session["csrf_token"])
    try:
        return await api.post("/fine_tuning/estimate", wish.body(method_of(report))), None
    except ApiRefused as refused:
        return None, refused


def method_of(report: Json | None) -> str:
    return report["method"] if report else "supervised"


def situation_of(wish: Wish, report: Json | None) -> Situation:
    change = wish.change if wish.change in CHANGES else change_in(wish.goal)
    return Situation(
        change=change,  # type: ignore[arg-type] one of CHANGES
        matters=wish.matters if wish.matters in MATTERS else "balance",  # type: ignore[arg-type] one of MATTERS
        examples=report["examples"] - report["bad_examples"] if report else 0,
        pairs=method_of(report) == "dpo",
        continues=wish.model.startswith("ft:"),
    )
