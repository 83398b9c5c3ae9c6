"""One dataset: its versions, what became of each, its rows, exports."""

from itertools import pairwise
from typing import Any

from litestar import Response, get, post
from litestar.params import FromPath

from admin.console import recipes
from admin.console.api import ApiRefused, Json, at_once, path_of
from admin.console.example_lines import passages
from admin.console.page import CurrentPage, Page

FORMATS = {
    "openai": "OpenAI (JSONL)",
    "trl": "TRL (JSONL)",
    "sharegpt": "ShareGPT (JSONL)",
    "alpaca": "Alpaca (JSONL)",
    "parquet": "Parquet",
    "csv": "CSV",
}
ACTIVE = ("queued", "building")
STAGES = {
    "selecting": "Choosing answers",
    "cleaning": "Removing duplicates and personal data",
    "writing": "Writing the files",
    "storing": "Storing them",
}
VERSIONS, ROWS = 20, 20
ONE = "/projects/{project_id:str}/datasets/{dataset_id:str}"


@get(ONE)
async def show_dataset(page: CurrentPage, dataset_id: FromPath[str]) -> Response[str]:
    """With `version` that one, else the newest. Asked by htmx it is the part that moves; once the version's status is another,
    the whole page."""
    dataset, versions = await at_once(
        page.api.get(path_of("datasets", dataset_id)),
        page.api.get(path_of("datasets", dataset_id, "versions"), limit=VERSIONS, after=page.query("after")),
    )
    version = await _version(page, dataset, versions["data"])
    if page.is_fragment:
        answer = page.show("dataset_progress.html", dataset=dataset, version=version, stages=STAGES, active=ACTIVE)
        if version["status"] != page.query("status"):
            answer.headers["hx-refresh"] = "true"
        return answer
    report = None
    if version["status"] == "completed":
        report = await page.api.get(_of(dataset_id, version["version"], "report"))
    values: dict[str, Any] = {
        "dataset": dataset,
        "versions": versions,
        "version": version,
        "report": report,
        "formats": FORMATS,
    }
    changed = _changes(versions["data"])
    return page.show("dataset.html", **values, changes=changed, stages=STAGES, active=ACTIVE, written=recipes.written)


@get(ONE + "/versions/{number:str}/rows")
async def show_rows(page: CurrentPage, dataset_id: FromPath[str], number: FromPath[str]) -> Response[str]:
    """Lines, where each comes from, and how good it is."""
    version = await page.api.get(_of(dataset_id, number))
    split = "validation" if page.query("split") == "validation" else "training"
    after = int(page.query("after")) if page.query("after").isdecimal() else 0
    file_id = version[f"{split}_file"]
    if file_id is None:
        raise ApiRefused(404, {"message": f"This version has no {split} rows."})
    behind = (
        f"{split}-{after}" if after else {"training": "", "validation": f"training-{version['training_rows']}"}[split]
    )
    dataset, lines, items = await at_once(
        page.api.get(path_of("datasets", dataset_id)),
        page.api.get(path_of("files", file_id, "rows"), limit=ROWS, after=after),
        page.api.get(_of(dataset_id, number, "items"), limit=ROWS, after=behind),
    )
    of_line = {each["line"]: each for each in items["data"] if each["split"] == split}
    rows = [
        {**each, "passages": passages(each["example"]), "item": of_line.get(each["line"])} for each in lines["data"]
    ]
    values: dict[str, Any] = {"dataset": dataset, "version": version, "split": split, "rows": rows, "lines": lines}
    return page.show("dataset_rows.html", **values)


@post(ONE + "/versions/{number:str}/rows")
async def exclude_rows(page: CurrentPage, dataset_id: FromPath[str], number: FromPath[str]) -> Response[str]:
    """The next version: of the same moment and by the same recipe, but for the rows that were ticked."""
    form = await page.form()
    version = await page.api.get(_of(dataset_id, number))
    exchanges, examples = form.getall("exchange", []), form.getall("example", [])
    if not exchanges and not examples:
        raise ApiRefused(400, {"message": "Tick the rows that should not be in it."})
    recipe = recipes.without(version["recipe"], exchanges, examples)
    body = {"recipe": recipe, "snapshot_at": version["snapshot_at"]}
    await page.api.post(path_of("datasets", dataset_id, "versions"), body)
    count = len(exchanges) + len(examples)
    done = f"The next version is being built, without {count} row{'s' if count > 1 else ''}."
    return page.see_other(page.within("datasets", dataset_id), done)


@post(ONE + "/versions/{number:str}/cancel")
async def cancel_version(page: CurrentPage, dataset_id: FromPath[str], number: FromPath[str]) -> Response[str]:
    await page.form()
    await page.api.post(_of(dataset_id, number, "cancel"))
    return page.see_other(page.within("datasets", dataset_id), "The version is cancelled.")


@post(ONE + "/versions/{number:str}/export")
async def export_version(page: CurrentPage, dataset_id: FromPath[str], number: FromPath[str]) -> Response[str]:
    """OpenAI's format is that of the files themselves; others are written first."""
    form = await page.form()
    split = "validation" if form.get("split") == "validation" else "training"
    if form.get("format", "openai") == "openai":
        file_id = (await page.api.get(_of(dataset_id, number)))[f"{split}_file"]
    else:
        made = await page.api.post(_of(dataset_id, number, "export"), format=form["format"], split=split)
        file_id = made["file"]["id"]
    if file_id is None:
        raise ApiRefused(404, {"message": f"This version has no {split} file."})
    return page.see_other(page.within("files", file_id, "download"))


@post(ONE + "/delete")
async def delete_dataset(page: CurrentPage, dataset_id: FromPath[str]) -> Response[str]:
    await page.form()
    await page.api.delete(path_of("datasets", dataset_id))
    return page.see_other(page.within("datasets"), "The dataset is deleted; its files are still there.")


def _changes(versions: list[Json]) -> dict[int, list[tuple[str, str, str]]]:
    """By a version's number: what its recipe has different from the one before."""
    pairs = pairwise(versions)
    return {new["version"]: recipes.differences(old["recipe"], new["recipe"]) for new, old in pairs}


async def _version(page: Page, dataset: Json, versions: list[Json]) -> Json:
    wanted = page.query("version")
    if not wanted:
        return dataset["latest_version"]
    found = next((each for each in versions if str(each["version"]) == wanted), None)
    return found or await page.api.get(_of(dataset["id"], wanted))


def _of(dataset_id: str, number: Any, *more: str) -> str:
    return path_of("datasets", dataset_id, "versions", str(number), *more)
