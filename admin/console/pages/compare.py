"""The comparison lab: prompts answered by several models side by side, and votes on the answers."""

from litestar import Response, get

from admin.console.api import Json, at_once
from admin.console.callable import callable_models
from admin.console.page import CurrentPage, Page

PURPOSES = ("fine-tune", "evals")
"""Of files whose lines have prompts."""
CHOICES = ("model_a", "model_b", "model_c", "model_d")


@get("/projects/{project_id:str}/compare")
async def show_compare(page: CurrentPage) -> Response[str]:
    """`?models=a&models=b` chooses them beforehand."""
    models, *lists = await at_once(callable_models(page), *(_files(page, purpose) for purpose in PURPOSES))
    chosen = page.request.query_params.getall("models", [])
    values = {name: chosen[place] if place < len(chosen) else "" for place, name in enumerate(CHOICES)}
    return page.show("compare.html", models=models, files=[each for some in lists for each in some], values=values)


async def _files(page: Page, purpose: str) -> list[Json]:
    """The newest ones."""
    return (await page.api.get("/files", purpose=purpose, limit=25, order="desc"))["data"]
