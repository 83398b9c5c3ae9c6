"""Training examples by hand: found, written, edited, validated, imported."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from litestar import Response, get, post
from litestar.params import FromPath

from admin.console import example_lines
from admin.console.api import ApiRefused, Json, path_of
from admin.console.page import CurrentPage, Filled, Page
from admin.console.uploaded import multipart

FILTERS = ("text", "tag", "status", "kind", "source", "min_score")
STATUSES = ("draft", "validated", "rejected")
SHOWN = 25
ALL = "/projects/{project_id:str}/examples"
ONE = ALL + "/{example_id:str}"
MOST_OF_THE_LOG = 1000


@get(ALL)
async def list_examples(page: CurrentPage) -> Response[str]:
    return await _list(page)


@post(ALL)
async def create_example(page: CurrentPage) -> Response[str]:
    form = await page.form()
    try:
        body = {"line": example_lines.written(form), "tags": _tags(form), "note": form.get("note", "")}
        made = await page.api.post("/training_examples", body)
    except ApiRefused as refused:
        return await _list(page, form=form, error=refused)
    return page.see_other(page.within("examples", made["id"]), "The example is kept as a draft.")


@post(ALL + "/import")
async def import_examples(page: CurrentPage) -> Response[str]:
    """Of a training file, or of the answers that people liked."""
    form = await page.form()
    body: dict[str, Any] = {"tags": _tags(form), "validated": bool(form.get("validated"))}
    try:
        if form.get("from") == "log":
            body["exchanges"] = _liked(form)
        else:
            body["file_id"] = await _upload(page, form.get("file"))
        made = await page.api.post("/training_examples/import", body)
    except ApiRefused as refused:
        return await _list(page, error=refused)
    return page.see_other(page.within("examples"), _told(made))


@get(ONE)
async def show_example(page: CurrentPage, example_id: FromPath[str]) -> Response[str]:
    return await _show(page, example_id)


@post(ONE)
async def change_example(page: CurrentPage, example_id: FromPath[str]) -> Response[str]:
    """Another line makes another example, in the place of this one."""
    form = await page.form()
    try:
        before = await page.api.get(path_of("training_examples", example_id))
        changes: dict[str, Any] = {"tags": _tags(form), "note": form.get("note", "")}
        line = example_lines.written(form)
        if line != before["line"]:
            changes["line"] = line
        after = await page.api.post(path_of("training_examples", example_id), changes)
    except ApiRefused as refused:
        return await _show(page, example_id, form=form, error=refused)
    done = "The example is changed; it is a draft again." if "line" in changes else "The example is changed."
    return page.see_other(page.within("examples", after["id"]), done)


@post(ONE + "/validate")
async def validate_example(page: CurrentPage, example_id: FromPath[str]) -> Response[str]:
    form = await page.form()
    body: dict[str, Any] = {"status": form.get("status", "validated")}
    if form.get("score") and body["status"] == "validated":
        body["score"] = _score(form["score"])
    try:
        await page.api.post(path_of("training_examples", example_id, "validate"), body)
    except ApiRefused as refused:
        return await _show(page, example_id, error=refused)
    words = {
        "validated": "validated: datasets take it",
        "rejected": "rejected: no dataset takes it",
        "draft": "a draft again",
    }
    return page.see_other(
        page.within("examples", example_id), f"The example is {words.get(body['status'], 'changed')}."
    )


@post(ONE + "/delete")
async def delete_example(page: CurrentPage, example_id: FromPath[str]) -> Response[str]:
    await page.form()
    await page.api.delete(path_of("training_examples", example_id))
    return page.see_other(page.within("examples"), "The example is deleted.")


async def _list(page: Page, *, form: Mapping[str, Any] | None = None, error: ApiRefused | None = None) -> Response[str]:
    filters = {name: page.query(name) for name in FILTERS if page.query(name)}
    asked = filters | ({"tag": _split(filters["tag"])} if "tag" in filters else {})
    examples: Json = {"data": [], "has_more": False}
    try:
        examples = await page.api.get("/training_examples", limit=SHOWN, after=page.query("after"), **asked)
    except ApiRefused as refused:
        error = error or refused
    rows = [{**each, "passages": example_lines.passages(each["line"])} for each in examples["data"]]
    return page.show(
        "examples.html",
        status=error.status if error else 200,
        examples=examples,
        rows=rows,
        filters=filters,
        values=Filled(form),
        error=error,
    )


async def _show(
    page: Page, example_id: str, *, form: Mapping[str, Any] | None = None, error: ApiRefused | None = None
) -> Response[str]:
    example = await page.api.get(path_of("training_examples", example_id))
    kept = example_lines.fields(example["line"]) | {"tags": ", ".join(example["tags"]), "note": example["note"]}
    return page.show(
        "example.html",
        status=error.status if error else 200,
        example=example,
        passages=example_lines.passages(example["line"]),
        values=Filled(form or kept),
        error=error,
    )


async def _upload(page: Page, file: Any) -> str:
    """-> its id. Raises ApiRefused."""
    answer = await page.api.send("POST", "/files", content=await multipart(file, purpose="fine-tune"))
    if answer.status >= 400:
        raise ApiRefused(answer.status, answer.json["error"])
    return answer.json["id"]


def _liked(form: Mapping[str, Any]) -> dict[str, Any]:
    """Answers that people approved of, of the last days. Raises ApiRefused."""
    wanted: dict[str, Any] = {"limit": MOST_OF_THE_LOG}
    if form.get("days"):
        if not str(form["days"]).isdecimal() or not 1 <= int(form["days"]) <= 3660:
            raise ApiRefused(400, {"message": "Days are a number from 1 to 3660.", "param": "days"})
        wanted["created_after"] = int((datetime.now(UTC) - timedelta(days=int(form["days"]))).timestamp())
    if form.get("min_score"):
        wanted["min_score"] = _score(form["min_score"])
    return wanted


def _told(made: Json) -> str:
    parts = [f"{made['created']:,} examples are new"]
    if made["duplicates"]:
        parts.append(f"{made['duplicates']:,} were there already")
    parts += [f"{each['count']:,} left out ({_reason(each)})" for each in made["skipped"]]
    return "; ".join(parts) + "." + (" There are more: do it again with fewer days." if made["has_more"] else "")


def _reason(skipped: Json) -> str:
    return f"{skipped['reason'].replace('_', ' ')}: {', '.join(skipped['first'])[:150]}"


def _tags(form: Mapping[str, Any]) -> list[str]:
    return _split(form.get("tags") or "")


def _split(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]


def _score(text: Any) -> float:
    """Raises ApiRefused."""
    try:
        return float(text)
    except (TypeError, ValueError):
        raise ApiRefused(400, {"message": "A score is a number from 0 to 1.", "param": "score"}) from None
