"""One output item: the model answers, the criteria grade, and the figures beside its reference are counted."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.asking import Asked, NotAsked
from gateway.db.tables import EvalOutputItemRow
from gateway.evals import calls as asks
from gateway.evals import item_metrics, samples
from gateway.evals.calls import Asking, CannotAsk
from gateway.evals.criteria import Criterion
from gateway.evals.samples import Answered, NoAnswer
from gateway.evals.storable import storable
from gateway.protocol.evals import Sampling
from gateway.services import WorkerServices
from gateway.tasks.eval_calls import FIRST_WAIT, GraderCall, ItemCalls
from judges import run as judging
from judges.grade import Grade, GraderFailed
from judges.sample import Sample
from judges.templates import render


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is alike for all items of a run."""

    project_id: str
    criteria: list[Criterion]
    asking: Asking | None
    """None where the answers are there already."""
    reference: str | None
    """Template of the right answer."""
    log_probabilities: bool


@dataclass(frozen=True, slots=True)
class Graded:
    """What one criterion came to."""

    criterion: Criterion
    result: dict[str, Any]
    """As the item's `results` has it."""
    asked: Asked | None = None
    """The call of the model that graded; None where none was made, or answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came out for one item."""

    status: str
    sample: dict[str, Any]
    graded: Sequence[Graded]
    metrics: dict[str, Any]
    exchange_id: str | None
    """Whose answer was graded, in the log: the run's own call (where none was answered, the last one), or a stored
    completion's; None where the answer came with the data."""
    calls: ItemCalls

    def columns(self) -> dict[str, Any]:
        """Of the finished row."""
        return {
            "status": self.status,
            "sample": self.sample,
            "results": storable([each.result for each in self.graded]),
            "metrics": storable(self.metrics),
            "exchange_id": self.exchange_id,
        }


class Answering:
    """Answers and grades items of one run.

    Args:
        places: for calls, of this worker and all its runs.
    """

    def __init__(
        self, wv: WorkerServices, plan: Plan, places: asyncio.Semaphore, *, first_wait: float = FIRST_WAIT
    ) -> None:
        self._wv = wv
        self._plan = plan
        self._places = places
        self._first_wait = first_wait

    async def outcome(self, row: EvalOutputItemRow) -> Outcome:
        """Whatever goes wrong with this item alone is in it.

        Raises:
            RunFailed: there is no money left: nothing more would be answered.
            Unavailable: the database is away.
        """
        calls = ItemCalls(self._wv, self._plan.project_id, self._places, first_wait=self._first_wait)
        try:
            answered = await self._answered(row, calls)
        except _NoSample as problem:
            return self._without_sample(row, calls, self._answered_in(row, calls), problem)
        exchange_id = self._answered_in(row, calls)
        graded = [await self._graded(each, answered, row.item, calls) for each in self._plan.criteria]
        return Outcome(
            status=_status([each.result for each in graded]),
            sample=samples.shown(answered, *self._sampling(row)),
            graded=graded,
            metrics=item_metrics.stored(
                await self._figures(answered, row.item), *_spoken(answered), calls.usage, answered and answered.took_ms
            ),
            exchange_id=exchange_id,
            calls=calls,
        )

    def forgotten(self, row: EvalOutputItemRow, outcome: Outcome) -> Outcome:
        """The same without a word of what was said: it was erased meanwhile."""
        problem = _NoSample("erased", "What was graded was deleted meanwhile.")
        return self._without_sample(row, outcome.calls, outcome.exchange_id, problem)

    def _without_sample(
        self, row: EvalOutputItemRow, calls: ItemCalls, exchange_id: str | None, problem: "_NoSample"
    ) -> Outcome:
        error = storable({"code": problem.code, "message": str(problem)})
        return Outcome(
            status="error",
            sample=samples.shown(None, *self._sampling(row), error),
            graded=[
                Graded(each, _unmeasured(each, "sample_error", "There is no answer.")) for each in self._plan.criteria
            ],
            metrics={"usage": calls.usage} if calls.usage else {},
            exchange_id=exchange_id,
            calls=calls,
        )

    def _sampling(self, row: EvalOutputItemRow) -> tuple[Sampling | None, int]:
        """The parameters that the answer was asked with, and the seed."""
        asking = self._plan.asking
        if asking is None:
            return None, samples.DEFAULT_SEED
        return asking.sampling_params, asks.seed_of(asking, row.repeat)

    def _answered_in(self, row: EvalOutputItemRow, calls: ItemCalls) -> str | None:
        """As long as no grader has asked: the model's last call."""
        if self._plan.asking is None:
            return row.exchange_id
        return calls.made[-1] if calls.made else None

    async def _answered(self, row: EvalOutputItemRow, calls: ItemCalls) -> Answered | None:
        """None where the item has none and wants none. Raises _NoSample."""
        if self._plan.asking is None:
            return samples.of_given(row.sample) if row.sample is not None else None
        try:
            body = asks.body(self._plan.asking, row.item, row.repeat, log_probabilities=self._plan.log_probabilities)
            asked, tokens = await calls.chat(body)
            told = (tokens.prompt, tokens.completion, tokens.cached)
            return samples.of_completion(asked.body, body["messages"], told, asked.duration_ms)
        except CannotAsk as error:
            raise _NoSample("invalid_item", str(error)) from None
        except NotAsked as error:
            raise _NoSample(error.code, str(error)) from None
        except NoAnswer as error:
            raise _NoSample("invalid_reply", str(error)) from None

    async def _graded(
        self, criterion: Criterion, answered: Answered | None, item: Mapping[str, Any], calls: ItemCalls
    ) -> Graded:
        if answered is None and criterion.needs_sample():
            message = "The item came without a sample, and the criterion looks at one."
            return Graded(criterion, _unmeasured(criterion, "no_sample", message))
        sample, ask = answered.sample if answered else Sample(""), GraderCall(calls)
        grade = await judging.grade(criterion.grader, sample, item, ask, self._wv.python_sandbox)
        return Graded(criterion, _result(criterion, grade, ask.answered), ask.answered)

    async def _figures(self, answered: Answered | None, item: Mapping[str, Any]) -> item_metrics.ItemMetrics | None:
        if answered is None or self._plan.reference is None:
            return None
        try:
            reference = render(self._plan.reference, answered.sample, item).text
        except GraderFailed:
            return None
        return await asyncio.to_thread(item_metrics.beside, answered.sample.output_text, reference)


class _NoSample(Exception):
    """The item was not answered."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def _status(results: list[dict[str, Any]]) -> str:
    """An item that one criterion could not grade has neither passed nor failed."""
    if any(each["passed"] is None for each in results):
        return "error"
    return "pass" if all(each["passed"] for each in results) else "fail"


def _result(criterion: Criterion, grade: Grade, asked: Asked | None) -> dict[str, Any]:
    if grade.reward is None:
        first = grade.failures[0]
        return _unmeasured(criterion, first.flag, first.details) | {"sample": _grader_sample(grade, asked)}
    return {
        "name": criterion.id,
        "type": criterion.type,
        "score": grade.reward,
        "passed": criterion.passes(grade.reward),
        "sample": _grader_sample(grade, asked),
    }


def _unmeasured(criterion: Criterion, code: str, message: str) -> dict[str, Any]:
    error = {"code": code, "message": message}
    return {
        "name": criterion.id, "type": criterion.type, "score": None, "passed": None, "sample": None, "error": error,
    }  # fmt: skip


def _grader_sample(grade: Grade, asked: Asked | None) -> dict[str, Any] | None:
    """What is known of the model that graded, and the call in which it did."""
    if not grade.tokens:
        return None
    label = next(iter(grade.scores.values()), None)
    call = {"exchange_id": asked.exchange_id} if asked and asked.exchange_id else {}
    return {"model": grade.answered_by} | ({} if label is None else {"label": label}) | call


def _spoken(answered: Answered | None) -> tuple[tuple[float, ...] | None, str]:
    return (answered.log_probabilities, answered.sample.output_text) if answered else (None, "")
