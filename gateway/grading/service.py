"""Graders as requests bring them and as replies show what they found."""

from collections.abc import Sequence
from typing import Any

from gateway.errors import InvalidRequest, MissingParameter
from gateway.protocol.graders import GraderErrors, GraderMetadata, GraderResult, TokenUsage
from judges.grade import Failure, Grade, Tokens
from judges.graders import Grader, Python, type_of
from judges.validation import MAX_PROBLEMS, MISSING, InvalidGrader, Problem, inner_paths, parse

NO_PYTHON = (
    "Python graders are switched off on this server, because they run code of whoever calls it. An operator who has an "
    "isolated place for that sets `grading.python_runner`."
)


def read(raw: Any, *, python: bool, path: str = "grader") -> Grader:
    """A grader from its JSON.

    Args:
        python: whether this server has a sandbox for Python graders.
        path: where it stands in the request.

    Raises:
        InvalidRequest: it is none, and the message names every problem; or it is a Python grader and there is no sandbox.
    """
    try:
        grader = parse(raw, path)
    except InvalidGrader as error:
        raise refusal(error.problems) from None
    for at, each in inner_paths(grader, path):
        if isinstance(each, Python) and not python:
            raise InvalidRequest(NO_PYTHON, param=at, code="python_graders_disabled")
    return grader


def refusal(problems: Sequence[Problem]) -> InvalidRequest:
    """One refusal for all of them; its `param` is the first one's path."""
    first = problems[0]
    if len(problems) == 1:
        if first.message == MISSING:
            return MissingParameter(first.path)
        return InvalidRequest(f"Invalid '{first.path}': {first.message}.", param=first.path)
    listed = "; ".join(f"'{problem.path}' {problem.message}" for problem in problems)
    count = f"{MAX_PROBLEMS} or more" if len(problems) >= MAX_PROBLEMS else str(len(problems))
    return InvalidRequest(f"The grader has {count} problems: {listed}.", param=first.path)


def result(grader: Grader, grade: Grade, seconds: float) -> GraderResult:
    """What POST .../run answers."""
    spent = grade.tokens.values()
    return GraderResult(
        reward=grade.reward if grade.reward is not None else 0.0,
        metadata=GraderMetadata(
            name=grader.name,
            type=type_of(grader),
            errors=_errors(grade.failures),
            execution_time=seconds,
            scores=grade.scores,
            token_usage=sum(tokens.total for tokens in spent) if spent else None,
            sampled_model_name=grade.answered_by,
        ),
        sub_rewards=grade.sub_rewards,
        model_grader_token_usage_per_model={model: _usage(tokens) for model, tokens in grade.tokens.items()},
    )


def _errors(failures: Sequence[Failure]) -> GraderErrors:
    errors = GraderErrors()
    for failure in failures:
        setattr(errors, failure.flag, True)
    errors.python_grader_server_error_type = _first(failures, "python_grader_server_error", "kind")
    errors.python_grader_runtime_error_details = _first(failures, "python_grader_runtime_error", "details")
    errors.model_grader_server_error_details = _first(failures, "model_grader_server_error", "details")
    errors.details = "; ".join(failure.details for failure in failures) or None
    return errors


def _first(failures: Sequence[Failure], flag: str, field: str) -> str | None:
    return next((getattr(failure, field) for failure in failures if failure.flag == flag), None)


def _usage(tokens: Tokens) -> TokenUsage:
    return TokenUsage(
        prompt_tokens=tokens.prompt,
        total_tokens=tokens.total,
        completion_tokens=tokens.completion,
        cached_tokens=tokens.cached,
    )
