"""A baseline and up to four runs beside it: which is better, and what changed from one to the other, answer by answer."""

import asyncio
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from litestar import Response, get
from litestar.params import FromPath

from admin.console.api import ApiRefused, Json, at_once, path_of
from admin.console.evals import answers, compared, figures
from admin.console.page import CurrentPage, Page
from admin.console.word_diff import word_diff

ONE = "/projects/{project_id:str}/evals/{eval_id:str}/compare"
MOST = 4
"""Runs beside the baseline."""
PAGE = 10
"""Items of which both answers are shown."""
RUNS = 50
"""That are offered, the newest."""
MOST_CHARACTERS = 4000
"""Of two answers that are compared word by word in a list; of longer ones their own pages say more."""
EFFECT = 0.05
"""Change of the pass rate that one would like to find, where nothing is sure."""
ENDINGS = {
    "queued": "waits for a worker",
    "in_progress": "is still running",
    "canceled": "was canceled",
    "failed": "has failed",
}
CHANGES = {"flips": "All that changed", "pass_to_fail": "Got worse", "fail_to_pass": "Got better", "all": "All items"}


@dataclass(frozen=True, slots=True)
class Beside:
    """One run beside the baseline."""

    id: str
    run: Json | None
    comparison: Json | None
    refused: str = ""
    """Why they cannot be compared."""

    @property
    def title(self) -> str:
        return figures.name_of(self.run) if self.run else self.id

    @property
    def primary(self) -> compared.Change | None:
        """None where nothing is in both."""
        paired = self.comparison and self.comparison["paired"]
        return compared.primary(self.comparison) if paired else None

    @property
    def secondary(self) -> list[compared.Change]:
        return compared.secondary(self.comparison) if self.comparison else []


@get(ONE)
async def show_comparison(page: CurrentPage, eval_id: FromPath[str]) -> Response[str]:
    """`base`, `with` (up to four); `of`: whose items are shown, `show`: which of them; `choose`: others."""
    base_id, ids, problem = chosen(page)
    if problem or not base_id or page.query("choose"):
        return await _choice(page, eval_id, problem)
    path = path_of("evals", eval_id)
    named = (path_of("runs", each) for each in (base_id, *ids))
    suite, base, *runs = await at_once(page.api.get(path), *(page.api.get(f"{path}{each}") for each in named))
    found = await at_once(*(beside(page, path, base, run) for run in runs))
    unsure = any(each.primary and each.primary.verdict == compared.UNSURE for each in found)
    size = await page.api.get(f"{path}/sample_size", effect=EFFECT) if unsure else None
    shown = await _shown(page, path, base, found)
    return page.show("eval_comparison.html", suite=suite, eval_id=eval_id, size=size, **shown)


async def _choice(page: Page, eval_id: str, problem: str) -> Response[str]:
    """Of the newest completed runs, and older ones that the URL names, which are chosen already. Args: problem: with these."""
    path = path_of("evals", eval_id)
    suite, trend = await at_once(page.api.get(path), page.api.get(f"{path}/trend", limit=RUNS))
    wanted = (page.query("base"), page.request.query_params.getall("with", []))
    offered = {each["run_id"]: figures.title(each) for each in reversed(trend["data"])}
    older = [each for each in dict.fromkeys((wanted[0], *wanted[1])) if each and each not in offered][: MOST + 1]
    found = await at_once(*(page.api.find(f"{path}{path_of('runs', each)}") for each in older))
    offered |= {each["id"]: figures.title(each) for each in found if each and each["status"] == "completed"}
    return page.show(
        "eval_comparison_choice.html",
        status=400 if problem else 200,
        suite=suite,
        eval_id=eval_id,
        offered=list(offered.items()),
        chosen=wanted,
        problem=problem,
        most=MOST,
    )


def chosen(page: Page) -> tuple[str, list[str], str]:
    """The baseline, the runs beside it, and what is wrong with that choice."""
    base = page.query("base")
    ids = [each for each in dict.fromkeys(page.request.query_params.getall("with", [])) if each not in ("", base)]
    if len(ids) > MOST:
        return base, ids, f"Up to {MOST} runs are compared with a baseline; {len(ids)} were chosen."
    if base and not ids:
        return base, ids, "Choose a run that is compared with the baseline, other than the baseline itself."
    if ids and not base:
        return base, ids, "Choose a baseline."
    return base, ids, ""


async def beside(page: Page, path: str, base: Json, run: Json) -> Beside:
    """Raises ApiRefused: not for a run that has not completed, of which it says so."""
    for each, which in ((base, "The baseline"), (run, "This run")):
        if each["status"] != "completed":
            return Beside(
                run["id"], run, None, f"{which} {ENDINGS[each['status']]}; runs are compared when they have completed."
            )
    try:
        told = await page.api.get(f"{path}{path_of('runs', run['id'], 'compare')}", **{"with": base["id"]})
    except ApiRefused as refused:
        return Beside(run["id"], run, None, str(refused))
    return Beside(run["id"], run, told["comparison"])


async def _shown(page: Page, path: str, base: Json, found: list[Beside]) -> dict[str, Any]:
    ready = [each for each in found if each.primary]
    current = next((each for each in ready if each.id == page.query("of")), ready[0] if ready else None)
    show = page.query("show") if page.query("show") in CHANGES else "flips"
    items = await _items(page, path, base, current, show) if current else None
    completed = [each.run for each in found if each.run]
    return {
        "base": base,
        "base_title": figures.name_of(base),
        "wanted": urlencode([("base", base["id"]), *(("with", each.id) for each in found)]),
        "found": found,
        "current": current,
        "show": show,
        "changes": CHANGES,
        "rows": compared.side_by_side([base, *completed]),
        "runs": [base, *completed],
        "titles": [figures.name_of(each) for each in (base, *completed)],
        "qualities": [figures.quality(each) for each in (base, *completed)],
        "costs": [figures.cost(each) for each in (base, *completed)],
        "items": items,
        "pairs": await asyncio.to_thread(_pairs, items["data"]) if items else [],
    }


async def _items(page: Page, path: str, base: Json, current: Beside, show: str) -> Json:
    query = {"with": base["id"], "change": show, "limit": PAGE, "after": page.query("after")}
    return await page.api.get(f"{path}{path_of('runs', current.id, 'compare', 'items')}", **query)


def _pairs(items: list[Json]) -> list[dict[str, Any]]:
    """What both answered, of repeats the first."""
    return [_pair(each) for each in items]


def _pair(each: Json) -> dict[str, Any]:
    sides = [shown[0] if (shown := each[name]) else None for name in ("base_items", "items")]
    texts = [answers.answer(side) if side else "" for side in sides]
    short = all(texts) and sum(map(len, texts)) <= MOST_CHARACTERS
    return {
        "number": each["datasource_item_id"] + 1,
        "change": each["change"],
        "question": answers.question(each["items"][0], 1000),
        "reference": each["items"][0]["reference"],
        "sides": sides,
        "texts": texts,
        "problems": [answers.problem(side) if side else "" for side in sides],
        "is_same": texts[0] == texts[1],
        "diff": word_diff(*texts) if short else None,
        "repeats": max(len(each["items"]), len(each["base_items"])),
    }
