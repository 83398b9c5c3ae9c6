"""One item of a run: what was asked, what was answered, what would have been right, and what each grader said."""

import asyncio
from typing import Any

from litestar import Response, get
from litestar.params import FromPath

from admin.console.api import Json, at_once, path_of
from admin.console.evals import answers
from admin.console.evals.answers import Verdict
from admin.console.page import CurrentPage, Page
from admin.console.pages.eval_run import ONE
from admin.console.word_diff import word_diff

MOST_JUDGES = 5
"""Graders whose own words are fetched."""


@get(ONE + "/items/{item_id:str}")
async def show_item(
    page: CurrentPage, eval_id: FromPath[str], run_id: FromPath[str], item_id: FromPath[str]
) -> Response[str]:
    path, own = path_of("evals", eval_id), path_of("evals", eval_id, "runs", run_id)
    items = f"{own}/output_items"
    suite, run, item = await at_once(page.api.get(path), page.api.get(own), page.api.get(f"{items}{path_of(item_id)}"))
    verdicts = answers.verdicts(suite["testing_criteria"], item)
    status = page.query("status") if page.query("status") == item["status"] else ""
    repeats, following, before, *judged = await at_once(
        _repeats(page, items, run, item),
        page.api.get(items, after=item_id, limit=1, status=status),
        page.api.get(items, before=item_id, limit=1, status=status),
        *(_reasons(page, each) for each in verdicts[:MOST_JUDGES]),
    )
    answer = answers.answer(item)
    return page.show(
        "eval_run_item.html",
        suite=suite,
        run=run,
        item=item,
        only=status,
        repeats=repeats,
        following=following["data"],
        before=before["data"],
        asked=answers.asked(item),
        replies=answers.replies(item),
        problem=answers.problem(item),
        fields=answers.fields(item),
        verdicts=list(zip(verdicts, judged + [[]] * len(verdicts), strict=False)),
        diff=await _diff(item["reference"], answer),
        is_same=item["reference"] == answer,
    )


async def _repeats(page: Page, items: str, run: Json, item: Json) -> list[Json]:
    """Other answers to the same item."""
    if run["repeats"] == 1:
        return []
    found = await page.api.get(items, datasource_item_id=item["datasource_item_id"])
    return [each for each in found["data"] if each["id"] != item["id"]]


async def _reasons(page: Page, verdict: Verdict) -> list[str]:
    """What a model that graded said, from the log; empty where none did, or it is not there any more."""
    if not verdict.exchange_id:
        return []
    call: Json | None = await page.api.find(f"/exchanges{path_of(verdict.exchange_id)}")
    return answers.reasons(call["reply"]) if call and call["reply"] else []


async def _diff(reference: Any, answer: str) -> list[tuple[str, str]] | None:
    """None where there is nothing to compare, or too much."""
    return await asyncio.to_thread(word_diff, reference, answer) if reference and answer else None
