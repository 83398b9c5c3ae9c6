"""Grade one sample with one grader."""

import asyncio
from dataclasses import replace

from judges import formula
from judges.ask import Ask, Sandbox
from judges.grade import Failure, Grade, GraderFailed, Tokens
from judges.graders import Grader, LabelModel, Multi, Python, ScoreModel, Single, StringCheck, TextSimilarity
from judges.model_graders import grade_by_label, grade_by_score
from judges.python_grader import grade_in_sandbox
from judges.sample import Item, Sample
from judges.string_check import check
from judges.templates import render
from judges.text_similarity import similarity


async def grade(grader: Grader, sample: Sample, item: Item, ask: Ask, sandbox: Sandbox | None) -> Grade:
    """The grade of a sample; a failure to grade is part of it, not raised.

    Args:
        ask: what it raises, other than AskFailed, goes through.
        sandbox: None where Python graders are switched off.
    """
    if isinstance(grader, Multi):
        return await _grade_multi(grader, sample, item, ask, sandbox)
    try:
        return await _grade_single(grader, sample, item, ask, sandbox)
    except GraderFailed as error:
        return Grade(reward=None, failures=(error.failure,))


async def _grade_single(grader: Single, sample: Sample, item: Item, ask: Ask, sandbox: Sandbox | None) -> Grade:
    match grader:
        case StringCheck():
            text, reference = render(grader.input, sample, item).text, render(grader.reference, sample, item).text
            return Grade(reward=check(grader.operation, text, reference))
        case TextSimilarity():
            text, reference = render(grader.input, sample, item).text, render(grader.reference, sample, item).text
            return Grade(reward=await asyncio.to_thread(similarity, grader.evaluation_metric, text, reference))
        case ScoreModel():
            return await grade_by_score(grader, sample, item, ask)
        case LabelModel():
            return await grade_by_label(grader, sample, item, ask)
        case Python():
            return Grade(reward=await grade_in_sandbox(grader, sample, item, sandbox))


async def _grade_multi(grader: Multi, sample: Sample, item: Item, ask: Ask, sandbox: Sandbox | None) -> Grade:
    """All graders at once, then the formula. If one of them failed there is no reward: a missing part is not a zero."""
    try:
        read = formula.parse(grader.calculate_output)
    except formula.FormulaError as error:
        return Grade(reward=None, failures=(Failure("formula_parse_error", str(error)),))
    graders = grader.by_variable()
    if unknown := sorted(read.variables - set(graders)):
        failure = Failure("invalid_variable_error", f"the formula names {', '.join(unknown)}, which is no grader")
        return Grade(reward=None, failures=(failure,))
    try:
        async with asyncio.TaskGroup() as group:
            tasks = {name: group.create_task(grade(each, sample, item, ask, sandbox)) for name, each in graders.items()}
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return _combined(read, {name: task.result() for name, task in tasks.items()})


def _combined(read: formula.Formula, grades: dict[str, Grade]) -> Grade:
    rewards = {name: each.reward for name, each in grades.items()}
    failures = tuple(
        replace(failure, details=f"{name}: {failure.details}")
        for name, each in grades.items()
        for failure in each.failures
    )
    reward = None
    if not failures:
        try:
            reward = read.value({name: value for name, value in rewards.items() if value is not None})
        except formula.Undefined as error:
            failures = (Failure("other_error", str(error)),)
    return Grade(
        reward=reward,
        failures=failures,
        sub_rewards=rewards,
        scores={name: score for name, each in grades.items() for score in each.scores.values()},
        tokens=_sum(grades),
    )


def _sum(grades: dict[str, Grade]) -> dict[str, Tokens]:
    total: dict[str, Tokens] = {}
    for each in grades.values():
        for model, tokens in each.tokens.items():
            total[model] = total.get(model, Tokens()) + tokens
    return total
