"""Datasets of a project: the list, and the form that one is built by, with what it would take."""

from typing import Any

from litestar import Response, get, post

from admin.console import recipes
from admin.console.api import ApiRefused, Json, at_once, path_of
from admin.console.page import CurrentPage, Page
from admin.console.recipes import Fields

SAMPLE = 1000
"""Newest exchanges that a preview looks at."""
PREFILLED = (
    "name",
    "models",
    "routes",
    "metadata",
    "created_after",
    "created_before",
    "criterion_0",
    "source_0",
    "passed_0",
)
"""Fields that a link may fill in: guidance suggests what to build a dataset of."""
REDACTED = {
    "email": "Email",
    "phone": "Phone",
    "iban": "IBAN",
    "card": "Card",
    "ssn": "SSN",
    "ip_address": "IP address",
    "api_key": "API key",
    "jwt": "Token (JWT)",
    "private_key": "Private key",
    "password": "Password",
}
PAIRED = {
    "edits": "Corrections by people",
    "votes": "Votes between two answers",
    "judges": "Comparisons by trusted judges",
    "regenerated": "Best and worst of the same prompt",
    "choices": "Best and worst choice of one call",
}


@get("/projects/{project_id:str}/datasets")
async def list_datasets(page: CurrentPage) -> Response[str]:
    datasets = await page.api.get("/datasets", limit=50, after=page.query("after"))
    building = any((each["latest_version"] or {}).get("status") in ("queued", "building") for each in datasets["data"])
    return page.show("datasets.html", datasets=datasets, building=building)


@get("/projects/{project_id:str}/datasets/new")
async def new_dataset(page: CurrentPage) -> Response[str]:
    """Empty but for what the URL says, or with `dataset` the next version of that one."""
    if dataset_id := page.query("dataset"):
        dataset = await page.api.get(path_of("datasets", dataset_id))
        fields = recipes.fields_for(dataset["latest_version"]["recipe"]) | {
            "dataset": dataset_id,
            "name": dataset["name"],
        }
    else:
        known = {name: page.query(name) for name in PREFILLED if page.query(name)}
        fields = recipes.usual() | {"kind": page.query("kind", "sft")} | known
    return await _form(page, fields)


@post("/projects/{project_id:str}/datasets/new")
async def make_dataset(page: CurrentPage) -> Response[str]:
    """`do=preview` tells what it would take; htmx asks for that while the form is filled in."""
    fields = recipes.fields_of(await page.form())
    if fields.get("do") == "preview" or page.is_fragment:
        preview, problem = await _preview(page, fields)
        if page.is_fragment:
            return page.show("dataset_preview.html", preview=preview, problem=problem)
        return await _form(page, fields, preview=preview, error=problem)
    try:
        return await _make(page, fields)
    except ApiRefused as refused:
        return await _form(page, fields, error=refused)


async def _make(page: Page, fields: Fields) -> Response[str]:
    """Raises ApiRefused."""
    recipe = recipes.recipe_of(fields)
    if dataset_id := fields.get("dataset"):
        await page.api.post(path_of("datasets", dataset_id, "versions"), {"recipe": recipe})
        return page.see_other(page.within("datasets", dataset_id), "The next version is being built.")
    body = {"name": fields.get("name", ""), "description": fields.get("description", ""), "recipe": recipe}
    made = await page.api.post("/datasets", body)
    return page.see_other(page.within("datasets", made["id"]), "The dataset is made; its first version is being built.")


async def _preview(page: Page, fields: Fields) -> tuple[Json | None, ApiRefused | None]:
    try:
        wanted = {"recipe": recipes.recipe_of(fields), "sample": SAMPLE}
        return await page.api.post("/datasets/preview", wanted), None
    except ApiRefused as refused:
        return None, refused


async def _form(
    page: Page, fields: Fields, *, preview: Json | None = None, error: ApiRefused | None = None
) -> Response[str]:
    criteria, evals = await at_once(page.api.every("/criteria", most=200), page.api.get("/evals", limit=100))
    values: dict[str, Any] = {
        "values": _Shown(fields),
        "criteria": sorted({each["name"] for each in criteria} | {"thumbs", "rating", "helpful", "accurate"}),
        "evals": evals["data"],
        "eval_names": [(each["id"], each["name"] or each["id"]) for each in evals["data"]],
        "redacted": REDACTED,
        "paired": PAIRED,
        "conditions": range(recipes.conditions(fields)),
        "preview": preview,
        "problem": None,
        "error": error,
    }
    return page.show("dataset_new.html", status=error.status if error else 200, **values)


class _Shown(dict[str, Any]):
    """Fields, empty where there are none: `values.name`."""

    def __missing__(self, name: str) -> str:
        return ""
