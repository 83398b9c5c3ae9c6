"""Two runs of one eval beside each other: /v1/evals/{eval}/runs/{run}/compare, and its items. Extensions."""

from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import get
from litestar.params import FromPath, QueryParams
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.datasets.isolated import fill, path_of, temporary
from gateway.db.tables import EvalOutputItemRow, EvalRow, EvalRunRow
from gateway.errors import Conflict, InvalidRequest, MissingParameter
from gateway.evals import comparisons, reports, repository
from gateway.evals.comparisons import CHANGES, FLIPS, Place
from gateway.evals.data_sources import DIRECTORY
from gateway.evals.figures import ComparedRuns, Comparison
from gateway.files.service import one_piece
from gateway.protocol.eval_reports import Compared, ComparedItem
from gateway.protocol.lists import CursorList, cursor_list
from gateway.protocol.queries import choice, integer, text
from gateway.routes.callers import Caller, Sv
from gateway.routes.eval_runs import RUN, item, reference_of
from gateway.services import Services

MOST = 50
"""Items of one page; each may have twenty answers in both runs."""


@get(RUN + "/compare")
async def compare_runs(
    sv: Sv, caller: Caller, eval_id: FromPath[str], run_id: FromPath[str], query: QueryParams
) -> Compared:
    """The run against the one that `with` names, item by item. Both have completed. The first time takes a second or more, then
    it is kept."""
    async with sv.database.session() as session:
        of, run, base = await _both(session, caller.project_id, eval_id, run_id, query)
    found = await _comparison(sv, of, run, base)
    return Compared(eval_id=eval_id, run_id=run_id, with_run_id=base.id, comparison=found)


@get(RUN + "/compare/items")
async def list_compared_items(
    sv: Sv, caller: Caller, eval_id: FromPath[str], run_id: FromPath[str], query: QueryParams
) -> CursorList:
    """What both runs answered to the same item. `change`: flips (what got worse first), pass_to_fail, fail_to_pass, or all
    in the order of the data."""
    change, limit = choice(query, "change", CHANGES, FLIPS), integer(query, "limit", default=20, highest=MOST)
    async with sv.database.session() as session:
        of, run, base = await _both(session, caller.project_id, eval_id, run_id, query)
    await _comparison(sv, of, run, base)
    async with sv.database.session() as session:
        after = await _after(session, run, text(query, "after"))
        found = await comparisons.places(session, run.id, base.id, change, after, limit + 1)
        shown = await _side_by_side(session, of, run, base, found[:limit])
    return cursor_list(shown, has_more=len(found) > limit)


async def _both(
    session: AsyncSession, project_id: str, eval_id: str, run_id: str, query: QueryParams
) -> tuple[EvalRow, EvalRunRow, EvalRunRow]:
    """The eval, the run and its base. Raises NotFound, Conflict, MissingParameter."""
    of = await repository.find(session, project_id, eval_id)
    run = await _completed(session, project_id, eval_id, run_id, "run_id")
    other = text(query, "with")
    if other is None:
        raise MissingParameter("with")
    return of, run, await _completed(session, project_id, eval_id, other, "with")


async def _completed(session: AsyncSession, project_id: str, eval_id: str, run_id: str, param: str) -> EvalRunRow:
    """Raises NotFound, Conflict."""
    run = await repository.find_run(session, project_id, eval_id, run_id, param=param)
    if run.status != "completed":
        raise Conflict(
            f"The run '{run_id}' is {run.status}; runs are compared when they have completed.",
            param=param,
            headers={"x-should-retry": "false"},
        )
    return run


async def _comparison(sv: Services, of: EvalRow, run: EvalRunRow, base: EvalRunRow) -> dict[str, Any]:
    """What is kept of it, else made. Raises NotFound: one of the runs was deleted meanwhile."""
    async with sv.database.session() as session:
        if kept := await comparisons.find(session, run.id, base.id):
            return kept
        wanted = Comparison(
            run=await reports.figures_of(session, of, run), base=await reports.figures_of(session, of, base)
        )
        await comparisons.check_there(session, run.id, base.id)  # so that these are all of their items
    with temporary(sv.settings.data_dir / DIRECTORY) as file:
        await fill(file, one_piece(msgspec.json.encode(wanted)))
        found = await sv.evals.run(["compare", path_of(file)], [file])
    made = msgspec.json.decode(found, type=ComparedRuns)
    comparison: dict[str, Any] = msgspec.to_builtins(made.comparison)
    async with sv.database.session() as session:
        await comparisons.keep(session, run.id, base.id, made, comparison)
    return comparison


async def _after(session: AsyncSession, run: EvalRunRow, id: str | None) -> int | None:
    """The item's number. Raises InvalidRequest."""
    if id is None:
        return None
    query = repository.graded(run.id).where(EvalOutputItemRow.id == id)
    row = await session.scalar(query)
    if row is None:
        raise InvalidRequest(f"Invalid 'after': no object with id '{id}' is in this list.", param="after")
    return row.number


async def _side_by_side(
    session: AsyncSession, of: EvalRow, run: EvalRunRow, base: EvalRunRow, places: Sequence[Place]
) -> list[ComparedItem]:
    ours = await _answers(session, run.id, [each.number for each in places])
    theirs = await _answers(session, base.id, [each.base_number for each in places if each.base_number is not None])
    reference = reference_of(of)
    left = [each for each in places if each.number in ours]  # not what was deleted since
    return [
        ComparedItem(
            id=ours[each.number][0].id,
            datasource_item_id=each.number,
            base_datasource_item_id=each.base_number,
            change=each.change,
            items=[item(row, of.id, reference) for row in ours[each.number]],
            base_items=[item(row, of.id, reference) for row in theirs.get(each.base_number, [])],
        )
        for each in left
    ]


async def _answers(
    session: AsyncSession, run_id: str, numbers: Sequence[int]
) -> dict[int | None, list[EvalOutputItemRow]]:
    """By the item's number, in the order of repeats."""
    rows = repository.graded_at(run_id, numbers).order_by(EvalOutputItemRow.number, EvalOutputItemRow.repeat)
    found: dict[int | None, list[EvalOutputItemRow]] = {}
    for row in await session.scalars(rows):
        found.setdefault(row.number, []).append(row)
    return found
