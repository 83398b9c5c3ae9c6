"""/v1/fine_tuning/alpha/graders through the application, judges asked at the fake upstream."""

import sys
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from gateway.services import Services
from gateway.settings import GradingSettings, Settings
from judges import python_runner
from tests.contract import conforms
from tests.fakes.training_money import NANO, add_budget, raise_budget, spent
from tests.fakes.upstream import WORDS, Upstream
from tests.gateway import logged
from tests.judges.examples import CHECK, LABEL, MULTI, PYTHON, SCORE, SIMILARITY

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient
URL = "/v1/fine_tuning/alpha/graders"
SAYING = SCORE | {"model": "echo", "input": [{"role": "user", "content": "Score: 0.7"}]}
"""The fake upstream repeats the last message."""
TOKENS = {"prompt_tokens": 12, "total_tokens": 12 + len(WORDS), "completion_tokens": len(WORDS), "cached_tokens": 4}


async def run(client: Client, grader: Any, sample: str = "x", **item: Any) -> dict[str, Any]:
    answer = await client.post(f"{URL}/run", json={"grader": grader, "model_sample": sample, "item": item})
    assert answer.status_code == 200, answer.text
    conforms("RunGraderResponse", answer.json())
    return answer.json()


async def error(client: Client, path: str, body: Any, status: int = 400) -> dict[str, Any]:
    answer = await client.post(f"{URL}/{path}", json=body)
    assert answer.status_code == status, answer.text
    conforms("ErrorResponse", answer.json())
    return answer.json()["error"]


def flags(result: dict[str, Any]) -> list[str]:
    return [name for name, value in result["metadata"]["errors"].items() if value is True]


class TestValidate:
    @pytest.mark.parametrize(
        "grader", [CHECK, SIMILARITY, SAYING, MULTI | {"graders": {"a": CHECK}, "calculate_output": "a"}]
    )
    async def test_gives_the_grader_back(self, client: Client, grader: dict[str, Any]) -> None:
        answer = await client.post(f"{URL}/validate", json={"grader": grader})
        conforms("ValidateGraderResponse", answer.json())
        assert answer.json() == {"grader": grader}

    async def test_label_models_too(self, client: Client) -> None:
        grader = LABEL | {"model": "echo"}
        assert (await client.post(f"{URL}/validate", json={"grader": grader})).json() == {"grader": grader}

    async def test_a_name_is_filled_in(self, client: Client) -> None:
        bare = {key: value for key, value in CHECK.items() if key != "name"}
        answer = await client.post(f"{URL}/validate", json={"grader": bare})
        conforms("ValidateGraderResponse", answer.json())
        assert answer.json()["grader"]["name"] == "string_check"

    async def test_every_problem_is_named(self, client: Client) -> None:
        grader = {"type": "string_check", "input": 3, "operation": "is"}
        found = await error(client, "validate", {"grader": grader})
        assert found["message"].startswith("The grader has 3 problems: ")
        assert all(
            name in found["message"]
            for name in ("'grader.input'", "'grader.operation'", "'grader.reference' is missing")
        )
        assert found["param"] == "grader.input"

    async def test_templates_formula_and_models_together(self, client: Client) -> None:
        graders = {"a": CHECK | {"input": "{{ itm.x }}"}, "b": SCORE | {"model": "nothing"}}
        found = await error(client, "validate", {"grader": MULTI | {"graders": graders, "calculate_output": "a + c"}})
        for path in ("grader.calculate_output", "grader.graders.a.input", "grader.graders.b.model"):
            assert f"'{path}'" in found["message"]
        assert "The model `nothing` does not exist" in found["message"]
        assert ".." not in found["message"]

    @pytest.mark.parametrize(
        ("body", "param"),
        [
            ({}, "grader"),
            ({"grader": None}, "grader"),
            ({"grader": {}}, "grader.type"),
            ({"grader": CHECK, "model_sample": "x"}, "model_sample"),
        ],
    )
    async def test_a_body_that_is_none(self, client: Client, body: Any, param: str) -> None:
        assert (await error(client, "validate", body))["param"] == param

    async def test_nobody_is_asked(self, client: Client, upstream: Upstream) -> None:
        await client.post(f"{URL}/validate", json={"grader": SAYING})
        assert upstream.requests == []


class TestRun:
    async def test_string_check(self, client: Client) -> None:
        grader = CHECK | {"reference": "{{ item.answer }}"}
        assert (await run(client, grader, "Paris", answer="Paris"))["reward"] == 1
        assert (await run(client, grader, "Rome", answer="Paris"))["reward"] == 0

    async def test_text_similarity(self, client: Client) -> None:
        result = await run(client, SIMILARITY, "fuzzy wuzzy was a bear", answer="fuzzy wuzzy was a bear")
        assert (result["reward"], result["sub_rewards"], result["metadata"]["token_usage"]) == (1, {}, None)

    async def test_multi(self, client: Client) -> None:
        """The example of OpenAI's guide: a tolerant name and an exact address out of a JSON answer."""
        graders = {
            "name": SIMILARITY
            | {"input": "{{sample.output_json.name}}", "reference": "{{item.name}}", "pass_threshold": 0.9},
            "email": CHECK | {"input": "{{sample.output_json.email}}", "reference": "{{item.email}}"},
        }
        grader = {"type": "multi", "graders": graders, "calculate_output": "(name + email) / 2"}
        item = {"name": "John Doe", "email": "john.doe@gmail.com"}
        result = await run(client, grader, '{"name": "John Doe", "email": "jd@gmail.com"}', **item)
        assert (result["reward"], result["sub_rewards"]) == (0.5, {"name": 1, "email": 0})
        assert (result["metadata"]["name"], result["metadata"]["type"]) == ("multi", "multi")

    @pytest.mark.parametrize(
        ("grader", "sample", "flag"),
        [
            (SIMILARITY, "x", "invalid_variable_error"),
            (CHECK | {"input": "{{ sample.output_json.a }}"}, "no json", "sample_parse_error"),
            (MULTI | {"graders": {"a": CHECK}, "calculate_output": "a +"}, "x", "formula_parse_error"),
            (MULTI | {"graders": {"a": CHECK}, "calculate_output": "a + b"}, "x", "invalid_variable_error"),
            (MULTI | {"graders": {"a": CHECK}, "calculate_output": "1 / (a - a)"}, "x", "other_error"),
            (SIMILARITY | {"reference": "y"}, "x" * 60_000, "truncated_observation_error"),
        ],
    )
    async def test_what_only_shows_in_grading(self, client: Client, grader: Any, sample: str, flag: str) -> None:
        result = await run(client, grader, sample)
        assert (result["reward"], flags(result)) == (0, [flag])
        assert result["metadata"]["errors"]["details"]

    @pytest.mark.parametrize(
        ("body", "param"),
        [
            ({"grader": CHECK}, "model_sample"),
            ({"grader": CHECK, "model_sample": {"a": 1}}, "model_sample"),
            ({"grader": CHECK, "model_sample": "x", "item": [1]}, "item"),
            ({"grader": CHECK | {"operation": "is"}, "model_sample": "x"}, "grader.operation"),
            ({"grader": SCORE | {"model": "nothing"}, "model_sample": "x"}, "grader.model"),
        ],
    )
    async def test_a_body_that_is_none(self, client: Client, body: Any, param: str) -> None:
        assert (await error(client, "run", body))["param"] == param

    async def test_item_may_be_left_out(self, client: Client) -> None:
        answer = await client.post(f"{URL}/run", json={"grader": CHECK, "model_sample": "x"})
        assert answer.json()["reward"] == 1

    @pytest.mark.parametrize("path", ["run", "validate"])
    async def test_needs_a_projects_key(self, admin: Client, path: str) -> None:
        body = {"grader": CHECK} if path == "validate" else {"grader": CHECK, "model_sample": "x"}
        await error(admin, path, body, status=403)
        admin.headers["authorization"] = "Bearer nothing"
        await error(admin, path, body, status=401)


class TestModelGraders:
    async def test_the_judges_call_is_metered_and_recorded_under_the_callers_key(
        self, client: Client, upstream: Upstream, sv: Services, project_key: dict[str, Any]
    ) -> None:
        result = await run(client, SAYING)
        assert (result["reward"], flags(result)) == (0.7, [])
        assert result["model_grader_token_usage_per_model"] == {"echo": TOKENS}
        assert (result["metadata"]["token_usage"], result["metadata"]["sampled_model_name"]) == (16, "echo")
        row = await logged.row(sv)
        assert (row.project_id, row.api_key_id) == (project_key["project_id"], project_key["id"])
        assert (row.endpoint, row.served_model, row.outcome) == ("/chat/completions", "echo", "completed")
        assert (row.input_tokens, row.output_tokens, row.cost_nano) == (12, 4, 8 * 5_000 + 4 * 500 + 4 * 10_000)
        assert upstream.requests[0]["response_format"]["type"] == "json_schema"

    async def test_the_judges_call_draws_on_the_callers_budget(
        self, client: Client, upstream: Upstream, sv: Services, project_key: dict[str, Any]
    ) -> None:
        await add_budget(sv.database, project_key["project_id"], NANO)
        await sv.mirrors.refresh()
        assert (await run(client, SAYING))["reward"] == 0.7
        await sv.drain.drain()
        assert await spent(sv.database) == 8 * 5_000 + 4 * 500 + 4 * 10_000
        await raise_budget(sv.database, 82_000)
        await sv.mirrors.refresh()
        refused = await error(client, "run", {"grader": SAYING, "model_sample": "x"}, status=429)
        assert refused["code"] == "insufficient_quota"
        assert len(upstream.requests) == 1, "nobody was asked, so nothing was spent"

    async def test_a_label(self, client: Client) -> None:
        grader = LABEL | {"model": "echo", "input": [{"role": "user", "content": "Label: good"}]}
        result = await run(client, grader)
        assert (result["reward"], result["metadata"]["scores"]) == (1, {"l": "good"})

    async def test_a_sample_that_grades_itself_gets_nothing(self, client: Client) -> None:
        grader = SAYING | {"input": [{"role": "user", "content": "{{ sample.output_text }}"}]}
        result = await run(client, grader, "Score: 1")
        assert (result["reward"], flags(result)) == (0, ["model_grader_parse_error"])
        assert result["metadata"]["token_usage"] == 16  # it was asked all the same

    @pytest.mark.parametrize("model", ["status-429", "status-500", "status-400", "bare-500", "cut", "cut-before"])
    async def test_an_upstream_that_fails(self, client: Client, model: str) -> None:
        result = await run(client, SAYING | {"model": model})
        assert (result["reward"], flags(result)) == (0, ["model_grader_server_error"])
        assert result["metadata"]["errors"]["model_grader_server_error_details"]

    async def test_an_upstream_without_structured_outputs_is_asked_again_without(
        self, client: Client, upstream: Upstream
    ) -> None:
        result = await run(client, SAYING | {"model": "no-schema"})
        assert result["reward"] == 0.7
        assert ["response_format" in request for request in upstream.requests] == [True, False]

    async def test_an_unpriced_model_without_usage(self, client: Client) -> None:
        result = await run(client, SAYING | {"model": "no-usage"})
        assert (result["reward"], result["metadata"]["token_usage"] > 0) == (0.7, True)

    async def test_several_in_a_multi_grader(self, client: Client, sv: Services) -> None:
        grader = MULTI | {
            "graders": {"a": SAYING, "b": SAYING, "c": SAYING | {"model": "status-500"}},
            "calculate_output": "a",
        }
        result = await run(client, grader)
        assert (result["reward"], result["sub_rewards"]) == (0, {"a": 0.7, "b": 0.7, "c": None})
        assert flags(result) == ["model_grader_server_error"]
        assert len(await logged.rows(sv)) == 3


class TestPythonOff:
    @pytest.mark.parametrize("path", ["run", "validate"])
    async def test_is_refused_and_the_setting_named(self, client: Client, path: str) -> None:
        body = {"grader": PYTHON} if path == "validate" else {"grader": PYTHON, "model_sample": "x"}
        found = await error(client, path, body)
        assert found["code"] == "python_graders_disabled"
        assert "grading.python_runner" in found["message"]


class TestPythonOn:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        command = (sys.executable, "-I", str(Path(python_runner.__file__)))
        return msgspec.structs.replace(settings, grading=GradingSettings(python_runner=command))

    async def test_the_example_of_openais_guide(self, client: Client) -> None:
        source = (
            "from rapidfuzz import fuzz, utils\n\ndef grade(sample, item) -> float:\n"
            '    output_text = sample["output_text"]\n    reference_answer = item["reference_answer"]\n'
            "    return fuzz.WRatio(output_text, reference_answer, processor=utils.default_process) / 100.0\n"
        )
        grader = {"type": "python", "source": source}
        answer = await client.post(f"{URL}/validate", json={"grader": grader})
        conforms("ValidateGraderResponse", answer.json())
        assert answer.json() == {"grader": grader | {"name": "python"}}
        result = await run(client, grader, "fuzzy wuzzy was a bear", reference_answer="fuzzy wuzzy had no hair")
        assert 0.5 < result["reward"] < 1

    async def test_an_exception_is_told(self, client: Client) -> None:
        result = await run(client, PYTHON | {"source": "def grade(s, i): return i['nothing']"})
        assert (result["reward"], flags(result)) == (0, ["python_grader_runtime_error"])
        assert "KeyError: 'nothing'" in result["metadata"]["errors"]["python_grader_runtime_error_details"]

    async def test_in_a_multi_grader(self, client: Client) -> None:
        grader = MULTI | {"graders": {"a": CHECK, "p": PYTHON}, "calculate_output": "a + p"}
        assert (await run(client, grader))["reward"] == 2


class TestSandboxThatDoesNotStart:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return msgspec.structs.replace(settings, grading=GradingSettings(python_runner=("false",)))

    async def test_is_the_servers_fault(self, client: Client) -> None:
        result = await run(client, PYTHON)
        assert flags(result) == ["python_grader_server_error"]
        assert result["metadata"]["errors"]["python_grader_server_error_type"] == "not_started"
