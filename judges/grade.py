"""A grade, and every way in which there is none."""

from dataclasses import dataclass, field
from typing import Any, Literal

Flag = Literal[
    "formula_parse_error",
    "sample_parse_error",
    "truncated_observation_error",
    "unresponsive_reward_error",
    "invalid_variable_error",
    "other_error",
    "python_grader_server_error",
    "python_grader_runtime_error",
    "model_grader_server_error",
    "model_grader_refusal_error",
    "model_grader_parse_error",
]
"""OpenAI's names (contract section 3, `metadata.errors` of a grader run)."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no grade. It is never a grade of zero: whoever averages leaves it out and counts it."""

    flag: Flag
    details: str
    kind: str | None = None
    """Of a sandbox that failed: which way."""


class GraderFailed(Exception):
    """A grader could not grade this sample."""

    def __init__(self, flag: Flag, details: str, kind: str | None = None) -> None:
        super().__init__(details)
        self.failure = Failure(flag, details, kind)


@dataclass(frozen=True, slots=True)
class Tokens:
    """What asking a model took."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    """Part of `prompt`."""

    def __add__(self, other: "Tokens") -> "Tokens":
        return Tokens(self.prompt + other.prompt, self.completion + other.completion, self.cached + other.cached)

    @property
    def total(self) -> int:
        return self.prompt + self.completion


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """What a grader found."""

    reward: float | None
    """Finite; None when it could not be measured, and then `failures` says why."""
    failures: tuple[Failure, ...] = ()
    sub_rewards: dict[str, float | None] = field(default_factory=dict[str, "float | None"])
    """Of the graders that a multi grader combines, by their variable in the formula."""
    scores: dict[str, Any] = field(default_factory=dict[str, Any])
    """By grader: what was found where the reward alone does not say it (the label of a label model)."""
    tokens: dict[str, Tokens] = field(default_factory=dict[str, Tokens])
    """By model that was asked."""
    answered_by: str | None = None
    """The model that graded, under the name it gave itself."""
