"""One output item: the model answers, the criteria grade, and the figures beside its reference are counted."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from gateway.asking import Asked, NotAsked
from gateway.db.tables import EvalOutputItemRow
from gateway.evals import calls, item_metrics, samples
from gateway.evals.calls import Asking, CannotAsk
from gateway.evals.criteria import Criterion
from gateway.evals.samples import Answered, NoAnswer
from gateway.evals.storable import storable
from gateway.grading import chat
from gateway.metering.usage import estimate_usage, read_usage
from gateway.services import WorkerServices
from gateway.tasks.eval_sources import RunFailed
from judges import run as judging
from judges.ask import Answer, AskFailed, Question
from judges.grade import Grade, GraderFailed, Tokens
from judges.sample import Sample
from judges.templates import render

TRIES = {"rate_limit": 20, "upstream": 6, "timeout": 2}
"""By what went wrong: a limit lets one through sooner or later, a server may come back, who took ten minutes takes them again."""
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
"""Seconds; doubled with every try, unless the gateway says how long."""
OUT_OF_BUDGET = "insufficient_quota"


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

    async def outcome(self, row: EvalOutputItemRow) -> dict[str, Any]:
        """The columns of a finished item. Whatever goes wrong with this item alone is in them.

        Raises:
            RunFailed: there is no money left: nothing more would be answered.
            Unavailable: the database is away.
        """
        params = self._plan.asking.sampling_params if self._plan.asking else None
        seed = calls.seed_of(self._plan.asking, row.repeat) if self._plan.asking else samples.DEFAULT_SEED
        usage: dict[str, Any] = {}
        try:
            answered, exchange_id = await self._answered(row, usage)
        except _NoSample as problem:
            error = {"code": problem.code, "message": str(problem)}
            return {
                "status": "error",
                "sample": samples.shown(None, params, seed, storable(error)),
                "results": [_unmeasured(each, "sample_error", "There is no answer.") for each in self._plan.criteria],
                "metrics": {"usage": usage} if usage else {},
            }
        results = [await self._graded(each, answered, row.item, usage) for each in self._plan.criteria]
        found = await self._figures(answered, row.item)
        return {
            "status": _status(results),
            "sample": samples.shown(answered, params, seed),
            "results": storable(results),
            "metrics": storable(item_metrics.stored(found, *_spoken(answered), usage)),
            "exchange_id": exchange_id,
        }

    async def _answered(self, row: EvalOutputItemRow, usage: dict[str, Any]) -> tuple[Answered | None, str | None]:
        """None where the item has none and wants none. Raises _NoSample."""
        if self._plan.asking is None:
            return (samples.of_given(row.sample) if row.sample is not None else None), row.exchange_id
        try:
            body = calls.body(self._plan.asking, row.item, row.repeat, log_probabilities=self._plan.log_probabilities)
        except CannotAsk as error:
            raise _NoSample("invalid_item", str(error)) from None
        try:
            asked = await self._ask(body)
        except NotAsked as error:
            raise _NoSample(error.code, str(error)) from None
        tokens = _tokens(body, asked.body)
        _count(usage, str(body["model"]), tokens)
        try:
            told = (tokens.prompt, tokens.completion, tokens.cached)
            return samples.of_completion(asked.body, body["messages"], told), asked.exchange_id
        except NoAnswer as error:
            raise _NoSample("invalid_reply", str(error)) from None

    async def _graded(
        self, criterion: Criterion, answered: Answered | None, item: Mapping[str, Any], usage: dict[str, Any]
    ) -> dict[str, Any]:
        if answered is None and criterion.needs_sample():
            return _unmeasured(
                criterion, "no_sample", "The item came without a sample, and the criterion looks at one."
            )
        sample = answered.sample if answered else Sample("")
        grade = await judging.grade(criterion.grader, sample, item, self._question, self._wv.python_sandbox)
        for model, tokens in grade.tokens.items():
            _count(usage, model, tokens)
        if grade.reward is None:
            first = grade.failures[0]
            return _unmeasured(criterion, first.flag, first.details) | {"sample": _grader_sample(grade)}
        return {
            "name": criterion.id,
            "type": criterion.type,
            "score": grade.reward,
            "passed": criterion.passes(grade.reward),
            "sample": _grader_sample(grade),
        }

    async def _figures(self, answered: Answered | None, item: Mapping[str, Any]) -> item_metrics.ItemMetrics | None:
        if answered is None or self._plan.reference is None:
            return None
        try:
            reference = render(self._plan.reference, answered.sample, item).text
        except GraderFailed:
            return None
        return await asyncio.to_thread(item_metrics.beside, answered.sample.output_text, reference)

    async def _question(self, question: Question) -> Answer:
        """A grader's own call (judges.ask.Ask)."""
        try:
            try:
                return await self._question_asked(question, structured=True)
            except NotAsked as refusal:
                if refusal.code != "refused" or not chat.speaks_of_structure(str(refusal)):
                    raise
                return await self._question_asked(question, structured=False)
        except NotAsked as failure:
            raise AskFailed(str(failure)) from failure

    async def _question_asked(self, question: Question, *, structured: bool) -> Answer:
        body = msgspec.json.decode(chat.request_body(question, structured=structured))
        asked = await self._ask(body)
        return chat.answer(asked.body, question, _tokens(body, asked.body))

    async def _ask(self, body: dict[str, Any]) -> Asked:
        """With patience. Raises NotAsked, RunFailed."""
        tried: Counter[str] = Counter()
        while True:
            try:
                async with self._places:
                    return await self._wv.asking.chat(self._plan.project_id, "eval", body)
            except NotAsked as refusal:
                tried[refusal.code] += 1
                if refusal.code == "quota":
                    raise RunFailed(OUT_OF_BUDGET, str(refusal)) from None
                if not refusal.retry or tried[refusal.code] >= TRIES.get(refusal.code, 1):
                    raise
                wait = refusal.retry_after
                if wait is None:
                    wait = self._first_wait * 2 ** (tried[refusal.code] - 1)
            await asyncio.sleep(min(wait, LONGEST_WAIT))


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


def _unmeasured(criterion: Criterion, code: str, message: str) -> dict[str, Any]:
    error = {"code": code, "message": message}
    return {
        "name": criterion.id, "type": criterion.type, "score": None, "passed": None, "sample": None, "error": error,
    }  # fmt: skip


def _grader_sample(grade: Grade) -> dict[str, Any] | None:
    """What is known of the model that graded."""
    if not grade.tokens:
        return None
    label = next(iter(grade.scores.values()), None)
    return {"model": grade.answered_by} | ({} if label is None else {"label": label})


def _spoken(answered: Answered | None) -> tuple[tuple[float, ...] | None, str]:
    return (answered.log_probabilities, answered.sample.output_text) if answered else (None, "")


def _tokens(body: dict[str, Any], reply: bytes) -> Tokens:
    usage = read_usage(reply)[1] or estimate_usage(msgspec.json.encode(body), reply.decode(errors="replace"))
    return Tokens(usage.input_tokens, usage.output_tokens, usage.cached_input_tokens)


def _count(usage: dict[str, Any], model: str, tokens: Tokens) -> None:
    known = usage.setdefault(model, {"calls": 0, "prompt": 0, "completion": 0, "cached": 0})
    for name, more in (
        ("calls", 1),
        ("prompt", tokens.prompt),
        ("completion", tokens.completion),
        ("cached", tokens.cached),
    ):
        known[name] += more
