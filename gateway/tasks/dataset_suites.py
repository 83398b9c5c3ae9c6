"""Test suites whose items must not be in a dataset, brought to disk: items of evals, and files."""

import asyncio
from pathlib import Path

import msgspec
from sqlalchemy import select

from gateway.datasets.recipe_rules import check_suites
from gateway.db.tables import EvalOutputItemRow, EvalRunRow
from gateway.errors import InvalidRequest
from gateway.protocol.recipes import Contamination
from gateway.services import WorkerServices

ITEMS = 1000
"""Read at a time."""


async def bring_suites(wv: WorkerServices, project_id: str, wanted: Contamination, directory: Path) -> list[Path]:
    """A file for each, a JSON object a line. Raises InvalidRequest: one is gone or has no items, which must not pass for clean."""
    async with wv.database.session() as session:
        await check_suites(session, project_id, wanted)
    paths: list[Path] = []
    for eval_id in wanted.evals:
        paths.append(directory / f"suite-{len(paths)}.jsonl")
        await _bring_items(wv, eval_id, paths[-1])
    for file_id in wanted.files:
        paths.append(directory / f"suite-{len(paths)}.jsonl")
        with paths[-1].open("wb") as file:
            async for piece in wv.files.get(file_id):
                await asyncio.to_thread(file.write, piece)
    return paths


async def _bring_items(wv: WorkerServices, eval_id: str, path: Path) -> None:
    """The items of all its runs, each once a run. Raises InvalidRequest: there are none."""
    query = (
        select(EvalOutputItemRow.id, EvalOutputItemRow.item)
        .join(EvalRunRow, EvalRunRow.id == EvalOutputItemRow.run_id)
        .where(EvalRunRow.eval_id == eval_id, EvalOutputItemRow.repeat == 0)
    )
    place = EvalOutputItemRow.id
    behind = ""
    with path.open("wb") as file:
        while True:
            async with wv.database.session() as session:
                page = list(await session.execute(query.where(place > behind).order_by(place).limit(ITEMS)))
            if not page:
                break
            file.write(b"".join(msgspec.json.encode(row.item) + b"\n" for row in page))
            behind = page[-1].id
    if not behind:
        message = f"The eval '{eval_id}' has no items yet, so nobody can say what it holds. Run it once, or name its items as a file."
        raise InvalidRequest(message, param="recipe.contamination.evals")
