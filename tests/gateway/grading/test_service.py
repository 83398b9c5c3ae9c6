"""Graders as requests bring them, and grades as replies show them."""

import msgspec
import pytest

from gateway.errors import InvalidRequest, MissingParameter
from gateway.grading.service import read, refusal, result
from judges.grade import Failure, Flag, Grade, Tokens
from judges.graders import Multi
from judges.validation import MISSING, Problem, parse
from tests.contract import conforms
from tests.judges.examples import CHECK, MULTI, PYTHON


class TestRead:
    def test_a_grader(self) -> None:
        assert isinstance(read(MULTI, python=False), Multi)

    @pytest.mark.parametrize(
        ("raw", "param"),
        [
            (PYTHON, "grader"),
            (MULTI | {"graders": {"a": CHECK, "p": PYTHON}}, "grader.graders.p"),
            (MULTI | {"graders": [PYTHON]}, "grader.graders[0]"),
        ],
    )
    def test_python_is_refused_where_there_is_no_sandbox(self, raw: object, param: str) -> None:
        with pytest.raises(InvalidRequest) as error:
            read(raw, python=False)
        assert (error.value.param, error.value.code) == (param, "python_graders_disabled")
        assert "grading.python_runner" in str(error.value)
        read(raw, python=True)


class TestRefusal:
    def test_of_one_problem(self) -> None:
        error = refusal([Problem("grader.range", "expected two numbers, the lower one first")])
        assert str(error) == "Invalid 'grader.range': expected two numbers, the lower one first."
        assert (error.param, error.code, error.status) == ("grader.range", "invalid_value", 400)

    def test_of_a_missing_field(self) -> None:
        error = refusal([Problem("grader.input", MISSING)])
        assert isinstance(error, MissingParameter)
        assert str(error) == "Missing required parameter: 'grader.input'."

    def test_of_several(self) -> None:
        error = refusal([Problem("grader.input", MISSING), Problem("grader.model", "is unknown")])
        assert str(error) == "The grader has 2 problems: 'grader.input' is missing; 'grader.model' is unknown."
        assert error.param == "grader.input"


class TestResult:
    def test_a_reward(self) -> None:
        grade = Grade(reward=0.5, tokens={"m": Tokens(10, 5, 2)}, answered_by="m", scores={"l": "good"})
        shown = msgspec.to_builtins(result(parse(CHECK), grade, 1.5))
        conforms("RunGraderResponse", shown)
        assert shown["model_grader_token_usage_per_model"] == {
            "m": {"prompt_tokens": 10, "total_tokens": 15, "completion_tokens": 5, "cached_tokens": 2}
        }
        metadata = shown["metadata"]
        assert (metadata["name"], metadata["type"], metadata["execution_time"]) == ("c", "string_check", 1.5)
        assert (metadata["token_usage"], metadata["sampled_model_name"], metadata["scores"]) == (15, "m", {"l": "good"})
        assert set(metadata["errors"].values()) == {False, None}

    def test_no_model_no_tokens(self) -> None:
        shown = result(parse(CHECK), Grade(reward=1), 0)
        assert (shown.metadata.token_usage, shown.metadata.sampled_model_name) == (None, None)

    @pytest.mark.parametrize("flag", Flag.__args__)
    def test_every_failure_has_its_flag(self, flag: Flag) -> None:
        shown = msgspec.to_builtins(result(parse(CHECK), Grade(reward=None, failures=(Failure(flag, "why"),)), 0))
        conforms("RunGraderResponse", shown)
        errors = shown["metadata"]["errors"]
        assert shown["reward"] == 0
        assert [name for name, value in errors.items() if value is True] == [flag]
        assert errors["details"] == "why"

    def test_details_where_openai_has_them(self) -> None:
        failures = (
            Failure("python_grader_server_error", "off", "not_started"),
            Failure("python_grader_runtime_error", "KeyError"),
            Failure("model_grader_server_error", "away"),
        )
        errors = result(parse(CHECK), Grade(reward=None, failures=failures), 0).metadata.errors
        assert errors.python_grader_server_error_type == "not_started"
        assert errors.python_grader_runtime_error_details == "KeyError"
        assert errors.model_grader_server_error_details == "away"
        assert errors.details == "off; KeyError; away"
