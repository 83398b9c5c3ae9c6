"""An eval with two runs of a thousand answers each, for the pages that benchmarks/console.py measures."""

import hashlib
from datetime import timedelta
from typing import Any

import msgspec
from sqlalchemy.dialects.postgresql import insert

from gateway.db.database import Database
from gateway.db.tables import EvalOutputItemRow, EvalRow, EvalRunRow
from gateway.evals import item_metrics, reports, samples, tallies
from gateway.evals.measuring import measure
from gateway.kit.clock import now

ITEMS = 1000
EVAL, BASE, TUNED = "eval_benchmark", "evalrun_base", "evalrun_tuned"
CRITERION: dict[str, Any] = {
    "type": "text_similarity", "name": "alike", "input": "{{ sample.output_text }}", "reference": "{{ item.answer }}",
    "evaluation_metric": "rouge_l", "pass_threshold": 0.5, "id": "alike-1",
}  # fmt: skip
SCHEMA = {"type": "object", "properties": {"item": {"type": "object"}, "sample": {"type": "object"}}}
RIGHT = " ".join(f"word{number}" for number in range(60))
WRONG = " ".join(f"other{number}" for number in range(60))
RATES = {BASE: 60, TUNED: 66}
"""Of a hundred answers, how many are right."""


async def add_eval(database: Database, project: str) -> dict[str, str]:
    """What URLs name. What is there already stays."""
    async with database.session() as session:
        of = _eval(project)
        await session.execute(insert(EvalRow).values(_columns(of)).on_conflict_do_nothing())
        for age, run_id in enumerate((TUNED, BASE)):
            run = _run(project, run_id, age)
            added = await session.execute(insert(EvalRunRow).values(_columns(run)).on_conflict_do_nothing())
            if added.rowcount:  # type: ignore[attr-defined]
                rows = [_item(run_id, number) for number in range(ITEMS)]
                await session.execute(insert(EvalOutputItemRow), rows)
                metrics = measure(await reports.figures_of(session, of, run))
                result = tallies.stored(await tallies.tally(session, run_id)) | {
                    "metrics": msgspec.to_builtins(metrics)
                }
                row = await session.get_one(EvalRunRow, run_id)
                row.result, row.status, row.finished_at = result, "completed", now()
    return {"eval": EVAL, "run": TUNED, "base": BASE, "item": _item_id(TUNED, ITEMS // 2)}


def _eval(project: str) -> EvalRow:
    config = {"type": "custom", "schema": SCHEMA}
    return EvalRow(
        id=EVAL, project_id=project, name="A thousand questions", data_source_config=config, testing_criteria=[CRITERION],
        metrics={}, created_at=now(), updated_at=now(),
    )  # fmt: skip


def _run(project: str, run_id: str, age: int) -> EvalRunRow:
    source = {"type": "completions", "model": "model-1", "source": {"type": "file_id", "id": "file-1"}}
    return EvalRunRow(
        id=run_id, eval_id=EVAL, project_id=project, api_key_id="key_1", name=run_id, model="model-1", data_source=source,
        repeats=1, status="in_progress", total=ITEMS, created_at=now() - timedelta(hours=age), finished_at=now(),
    )  # fmt: skip


def _item(run_id: str, number: int) -> dict[str, Any]:
    chance = hashlib.sha256(f"{run_id} {number}".encode()).digest()[0] * 100 / 256
    answer = RIGHT if chance < RATES[run_id] else WRONG
    passed = answer == RIGHT
    usage = {"model-1": {"calls": 1, "prompt": 100, "completion": 60, "cached": 0, "cost": 50_000, "priced": 1}}
    told = samples.of_given({"output_text": answer, "input": [{"role": "user", "content": f"Question {number}?"}]})
    return {
        "id": _item_id(run_id, number),
        "run_id": run_id,
        "number": number,
        "repeat": 0,
        "item": {"question": f"Question {number}?", "answer": RIGHT},
        "cluster": f"#{number}",
        "status": "pass" if passed else "fail",
        "sample": samples.shown(told, None, samples.DEFAULT_SEED),
        "results": [
            {"name": "alike-1", "type": "text_similarity", "score": float(passed), "passed": passed, "sample": None}
        ],
        "metrics": item_metrics.stored(item_metrics.beside(answer, RIGHT), None, answer, usage, 200.0 + number),
        "created_at": now(),
        "finished_at": now(),
    }


def _item_id(run_id: str, number: int) -> str:
    return f"outputitem_{run_id.removeprefix('evalrun_')}_{number}"


def _columns(row: Any) -> dict[str, Any]:
    return {column.key: value for column in row.__table__.columns if (value := getattr(row, column.key)) is not None}
