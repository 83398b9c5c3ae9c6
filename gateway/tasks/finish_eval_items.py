"""What came out for an item of a run is written: its columns and, in the same transaction, a judgment for each grader that
was asked about a logged answer.

So a worker that dies loses no judgment of a finished item, and none is written twice. A judgment has figures and no words:
what was said is in the item and in the log, and goes from there.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import CriterionRow, EvalOutputItemRow
from gateway.evals import claims
from gateway.evals.criteria import Criterion
from gateway.evals.judged_by import judged_by
from gateway.exchanges import erasure
from gateway.exchanges.erased import hold_off
from gateway.judgments import criteria
from gateway.judgments import repository as judgments
from gateway.judgments.verdict import Verdict
from gateway.services import WorkerServices
from gateway.tasks.answer_eval_items import Answering, Graded, Outcome
from gateway.tasks.eval_sources import Held, RunLost


class Finishing:
    """Of the items of one run.

    Args:
        known: by a grader's id, the criterion that its judgments are by.
    """

    def __init__(self, wv: WorkerServices, held: Held, answering: Answering, known: Mapping[str, CriterionRow]) -> None:
        self._wv = wv
        self._held = held
        self._answering = answering
        self._known = known

    async def finish(self, row: EvalOutputItemRow, outcome: Outcome) -> None:
        """Raises RunLost, Unavailable."""
        if not await self._written(row, outcome) and not await self._forgotten(row, outcome):
            raise RunLost

    async def _written(self, row: EvalOutputItemRow, outcome: Outcome) -> bool:
        """False, and nothing is: what was graded was erased meanwhile. Raises RunLost."""
        about = {id for id in (row.exchange_id, outcome.exchange_id) if id}
        async with self._wv.database.session() as session:
            if about and await hold_off(session, about):
                return False
            if not await claims.finish_item(session, row, self._held.holder, **outcome.columns()):
                raise RunLost
            await judgments.add(session, self._verdicts(row, outcome))
        return True

    async def _forgotten(self, row: EvalOutputItemRow, outcome: Outcome) -> bool:
        """The calls that were made repeat what was erased, and only we know of them: they go, even when the run is not ours
        any more, of which this returns False."""
        project_id, by = self._held.run.project_id, self._held.run.id
        left = self._answering.forgotten(row, outcome)
        async with self._wv.database.session() as session:
            await erasure.announce(session, project_id, outcome.calls.made, by)
            await erasure.erase(session, project_id, outcome.calls.made, by)
            return await claims.finish_item(session, row, self._held.holder, **left.columns())

    def _verdicts(self, row: EvalOutputItemRow, outcome: Outcome) -> list[Verdict]:
        """None of an answer that has no exchange."""
        if not outcome.exchange_id:
            return []
        whose = {
            "project_id": self._held.run.project_id,
            "exchange_id": outcome.exchange_id,
            "eval_run_id": row.run_id,
            "output_item_id": row.id,
            "identifier": row.id,
        }
        calls = {outcome.exchange_id, *(each.asked.exchange_id for each in outcome.graded if each.asked)}
        others = [id for id in outcome.calls.made if id not in calls]
        return [self._verdict(each, whose, [] if n else others) for n, each in enumerate(outcome.graded)]

    def _verdict(self, graded: Graded, whose: dict[str, Any], others: list[str]) -> Verdict:
        """Args: others: calls for the item that no column names."""
        criterion = self._known[graded.criterion.id]
        grader = {"eval": self._held.of.id, "grader": graded.criterion.id, "type": graded.criterion.type}
        return Verdict(
            **whose,
            criterion_id=criterion.id,
            kind=criterion.kind,
            source="llm" if graded.criterion.is_judge else "rule",
            **_said(graded, criterion.kind),
            **_call(graded),
            judgment_metadata=grader | ({erasure.CALLS: others} if others else {}),
        )


async def criteria_of(session: AsyncSession, held: Held, graders: list[Criterion]) -> dict[str, CriterionRow]:
    """By a grader's id, made where they are not there yet."""
    run = held.run
    return {
        each.id: await criteria.find_or_make(session, run.project_id, judged_by(each, run.eval_id), run.api_key_id)
        for each in graders
    }


def _said(graded: Graded, kind: str) -> dict[str, Any]:
    """A grader that could not grade has given no score."""
    result = graded.result
    if result["passed"] is None:
        return {"status": "error", "error_code": result["error"]["code"]}
    reward = result["score"]
    said = {"score": graded.criterion.score(reward), "passed": result["passed"]}
    match kind:
        case "boolean":
            return said | {"raw_value": result["passed"]}
        case "categorical":
            label = result["sample"]["label"]
            return said | {"raw_value": label, "label": label}
        case _:
            return said | {"raw_value": reward}


def _call(graded: Graded) -> dict[str, Any]:
    if graded.asked is None:
        return {}
    return {
        "latency_ms": graded.asked.duration_ms,
        "cost_nano": graded.asked.cost_nano,
        "judge_exchange_id": graded.asked.exchange_id or None,
    }
