"""Running and validating graders (contract section 3, "Graders"). A grader itself is judges/graders.py."""

from typing import Any

import msgspec

from judges.graders import Grader


class GraderValidate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """POST /fine_tuning/alpha/graders/validate."""

    grader: Any


class ValidatedGrader(msgspec.Struct, kw_only=True):
    grader: Grader


class GraderRun(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """POST /fine_tuning/alpha/graders/run."""

    grader: Any
    model_sample: str
    item: dict[str, Any] = {}


class TokenUsage(msgspec.Struct, kw_only=True):
    prompt_tokens: int
    total_tokens: int
    completion_tokens: int
    cached_tokens: int


class GraderErrors(msgspec.Struct, kw_only=True):
    formula_parse_error: bool = False
    sample_parse_error: bool = False
    truncated_observation_error: bool = False
    unresponsive_reward_error: bool = False
    invalid_variable_error: bool = False
    other_error: bool = False
    python_grader_server_error: bool = False
    python_grader_server_error_type: str | None = None
    python_grader_runtime_error: bool = False
    python_grader_runtime_error_details: str | None = None
    model_grader_server_error: bool = False
    model_grader_refusal_error: bool = False
    model_grader_parse_error: bool = False
    model_grader_server_error_details: str | None = None
    details: str | None = None
    """Extension: in words, whatever is true above."""


class GraderMetadata(msgspec.Struct, kw_only=True):
    name: str
    type: str
    errors: GraderErrors
    execution_time: float
    """Seconds."""
    scores: dict[str, Any]
    token_usage: int | None
    """In total; null when no model was asked. OpenAI's examples show an object here, its SDKs in strict mode take a number."""
    sampled_model_name: str | None


class GraderResult(msgspec.Struct, kw_only=True):
    reward: float
    """0 when there is none; then one of the errors is true."""
    metadata: GraderMetadata
    sub_rewards: dict[str, float | None]
    """Of a multi grader; null for a grader that failed."""
    model_grader_token_usage_per_model: dict[str, TokenUsage]
