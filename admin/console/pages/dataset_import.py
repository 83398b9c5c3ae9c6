"""A table or conversations from elsewhere: what is in the file, which column is what, what is wrong with it, and a training file.

The source lies in the project's files for a day. Each form names it again, so nothing is uploaded twice.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from litestar import Response, get, post

from admin.console.api import ApiRefused, Json, at_once, path_of
from admin.console.example_lines import passages
from admin.console.page import CurrentPage, Page
from admin.console.uploaded import multipart

ROLES = {
    "user": "Question",
    "context": "More input",
    "assistant": "Answer",
    "system": "System prompt",
    "messages": "Whole conversation",
    "tools": "Tools",
    "preferred": "Preferred answer",
    "non_preferred": "Answer not preferred",
}
FIXES = {
    "missing_values": "empty questions or answers",
    "duplicates": "repeats",
    "encoding": "damaged texts",
    "no_user": "rows without a question",
    "trailing": "rows that do not end with an answer",
    "unanswered_calls": "tool calls without a result",
    "same_answers": "pairs of the same answer",
    "language_mismatch": "answers in another script",
}
KEPT = {"purpose": "user_data", "expires_after[anchor]": "created_at", "expires_after[seconds]": "86400"}


@dataclass(frozen=True, slots=True)
class Asked:
    """What the form says."""

    file_id: str = ""
    mapping: dict[str, str] = field(default_factory=dict[str, str])
    """Role -> column; empty: as it is detected."""
    leave_out: list[str] = field(default_factory=list[str])
    excluded_rows: list[int] = field(default_factory=list[int])
    system: str = ""
    split: str = "20"
    """Percent for validation."""

    def body(self, *, store: bool) -> dict[str, Any]:
        """Raises ApiRefused: the share is no number."""
        body: dict[str, Any] = {
            "file_id": self.file_id,
            "leave_out": self.leave_out,
            "excluded_rows": self.excluded_rows,
            "store": store,
        }
        optional = {"mapping": self.mapping, "system": self.system, "split": _share(self.split)}
        return body | {name: value for name, value in optional.items() if value}


@get("/projects/{project_id:str}/datasets/import")
async def show_import(page: CurrentPage) -> Response[str]:
    """With `training`, what came of one."""
    files: list[Json] = []
    if page.query("training"):
        ids = [page.query(name) for name in ("training", "validation") if page.query(name)]
        files = await at_once(*(page.api.get(path_of("files", id)) for id in ids))
    return _show(page, Asked(), stored=files)


@post("/projects/{project_id:str}/datasets/import")
async def import_file(page: CurrentPage) -> Response[str]:
    """`do=store` makes the training file; anything else looks at it."""
    form = await page.form()
    asked, store = _asked(form), form.get("do") == "store"
    try:
        if not asked.file_id:
            asked = Asked(file_id=await _upload(page, form.get("file")))
        found = await page.api.post("/datasets/import", asked.body(store=store))
    except ApiRefused as refused:
        again = await _looked_at(page, asked) if store and refused.param != "file_id" else None
        return _show(page, asked, found=again, error=refused)
    if not store:
        return _show(page, asked, found=found)
    validation = f"&validation={found['validation_file']['id']}" if found["validation_file"] else ""
    url = f"{page.within('datasets', 'import')}?training={found['file']['id']}{validation}"
    return page.see_other(url, f"{found['message']} They are stored.")


async def _looked_at(page: Page, asked: Asked) -> Json | None:
    """After a refusal the form is still there."""
    try:
        return await page.api.post("/datasets/import", {"file_id": asked.file_id})
    except ApiRefused:
        return None


async def _upload(page: Page, file: Any) -> str:
    """-> its id. Raises ApiRefused."""
    answer = await page.api.send("POST", "/files", content=await multipart(file, **KEPT))
    if answer.status >= 400:
        raise ApiRefused(answer.status, answer.json["error"])
    return answer.json["id"]


def _asked(form: Any) -> Asked:
    mapping = {role: str(form.get(f"map_{role}")) for role in ROLES if form.get(f"map_{role}")}
    if not form.get("mapped") and mapping == _detected(form):
        mapping = {}
    rows = [int(each) for each in form.getall("excluded_rows", []) if str(each).isdecimal()]
    return Asked(
        file_id=str(form.get("file_id") or ""),
        mapping=mapping,
        leave_out=list(dict.fromkeys(form.getall("leave_out", []))),
        excluded_rows=sorted(set(rows)),
        system=str(form.get("system") or "").strip(),
        split=str(form.get("split", "20")).strip(),
    )


def _detected(form: Mapping[str, Any]) -> Any:
    """What the page before had recognized by itself."""
    try:
        return json.loads(form.get("detected") or "{}")
    except ValueError:
        return {}


def _share(percent: str) -> float | None:
    """Raises ApiRefused."""
    try:
        return round(float(percent or 0) / 100, 6) or None
    except ValueError:
        raise ApiRefused(
            400, {"message": "How much is for validation is a number, as in 20.", "param": "split"}
        ) from None


def _show(
    page: Page, asked: Asked, *, found: Json | None = None, error: ApiRefused | None = None, stored: Any = ()
) -> Response[str]:
    rows = [{**each, "passages": passages(each["example"])} for each in found["examples"]] if found else []
    codes = {each["code"] for each in found["report"]["findings"]} if found and found["report"] else set[str]()
    return page.show(
        "dataset_import.html",
        status=error.status if error else 200,
        asked=asked,
        found=found,
        rows=rows,
        roles=ROLES,
        fixes={code: text for code, text in FIXES.items() if code in codes and code not in asked.leave_out},
        fixed={code: FIXES[code] for code in asked.leave_out if code in FIXES},
        stored=stored,
        error=error,
    )
