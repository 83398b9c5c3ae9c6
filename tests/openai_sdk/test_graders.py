"""client.fine_tuning.alpha.graders, its replies held against the SDK's own types and OpenAI's schemas."""

from typing import Any

import pytest
from openai import APIResponseValidationError, AsyncOpenAI, BadRequestError, NotFoundError, OpenAI

from deploy.demo.stack import DemoStack, Key
from tests.openai_sdk.stacks import connect

CHECK: Any = {
    "type": "string_check", "name": "exact", "input": "{{ sample.output_text }}", "reference": "{{ item.answer }}", "operation": "eq",
}  # fmt: skip
SIMILARITY: Any = {
    "type": "text_similarity", "name": "alike", "input": "{{ sample.output_text }}", "reference": "{{ item.answer }}",
    "evaluation_metric": "rouge_l",
}  # fmt: skip
SCORE: Any = {
    "type": "score_model", "name": "judge", "model": "echo", "range": [0, 10],
    "input": [{"role": "system", "content": "Be strict."}, {"role": "user", "content": "Score: 7"}],
}  # fmt: skip
LABEL: Any = {
    "type": "label_model", "name": "tone", "model": "echo", "input": [{"role": "user", "content": "polite"}],
    "labels": ["polite", "rude"], "passing_labels": ["polite"],
}  # fmt: skip


class TestValidate:
    @pytest.mark.parametrize("grader", [CHECK, SIMILARITY, SCORE], ids=lambda grader: grader["type"])
    def test_gives_the_grader_back(self, client: OpenAI, grader: Any) -> None:
        found = client.fine_tuning.alpha.graders.validate(grader=grader).grader
        assert found is not None
        assert found.to_dict() == grader

    def test_a_multi_grader(self, client: OpenAI) -> None:
        grader: Any = {"type": "multi", "name": "all", "graders": LABEL, "calculate_output": "tone"}
        found = client.fine_tuning.alpha.graders.validate(grader=grader).grader
        assert found is not None
        assert found.to_dict() == grader

    def test_what_is_wrong_is_named(self, client: OpenAI) -> None:
        with pytest.raises(BadRequestError) as error:
            client.fine_tuning.alpha.graders.validate(grader=CHECK | {"operation": "is", "input": "{{ itm.x }}"})
        assert error.value.param == "grader.operation"

    def test_python_is_off(self, client: OpenAI) -> None:
        source = "def grade(sample, item):\n    return 1.0"
        with pytest.raises(BadRequestError) as error:
            client.fine_tuning.alpha.graders.validate(grader={"type": "python", "name": "p", "source": source})
        assert error.value.code == "python_graders_disabled"
        assert "grading.python_runner" in error.value.message

    def test_a_map_of_graders_is_for_lenient_clients(self, stack: DemoStack, key: Key) -> None:
        """OpenAI's guide writes a map, its SDK's types know one grader."""
        grader: Any = {
            "type": "multi",
            "name": "all",
            "graders": {"a": CHECK, "b": SIMILARITY},
            "calculate_output": "a + b",
        }
        with connect(stack, key.value) as lenient:
            found = lenient.fine_tuning.alpha.graders.validate(grader=grader).grader
            assert found is not None
            assert found.to_dict() == grader
        with (
            connect(stack, key.value, _strict_response_validation=True) as strict,
            pytest.raises(APIResponseValidationError),
        ):
            strict.fine_tuning.alpha.graders.validate(grader=grader)


class TestRun:
    @pytest.mark.parametrize(
        ("grader", "reward"), [(CHECK, 0), (SIMILARITY, 5 / 6)], ids=["string_check", "text_similarity"]
    )
    def test_without_a_model(self, client: OpenAI, grader: Any, reward: float) -> None:
        item = {"answer": "the cat is on the mat"}
        found = client.fine_tuning.alpha.graders.run(grader=grader, model_sample="the cat sat on the mat", item=item)
        assert found.reward == pytest.approx(reward)
        assert (found.metadata.name, found.metadata.type) == (grader["name"], grader["type"])
        assert (found.metadata.token_usage, found.metadata.sampled_model_name) == (None, None)

    def test_a_model_that_scores(self, client: OpenAI) -> None:
        found = client.fine_tuning.alpha.graders.run(grader=SCORE, model_sample="Paris")
        assert found.reward == 7
        assert (found.metadata.token_usage, found.metadata.sampled_model_name) == (16, "echo")
        assert found.api_model_grader_token_usage_per_model["echo"] == {
            "prompt_tokens": 12, "total_tokens": 16, "completion_tokens": 4, "cached_tokens": 4,
        }  # fmt: skip

    def test_several_by_a_formula(self, client: OpenAI) -> None:
        grader: Any = {
            "type": "multi", "name": "all", "graders": {"same": CHECK, "tone": LABEL, "score": SCORE},
            "calculate_output": "max(same, 0.1) * tone + score / 10",
        }  # fmt: skip
        found = client.fine_tuning.alpha.graders.run(grader=grader, model_sample="Paris", item={"answer": "Rome"})
        assert found.reward == pytest.approx(0.8)
        assert found.sub_rewards == {"same": 0, "tone": 1, "score": 7}

    def test_what_fails_in_grading(self, client: OpenAI) -> None:
        found = client.fine_tuning.alpha.graders.run(grader=CHECK, model_sample="Paris", item={})
        assert (found.reward, found.metadata.errors.invalid_variable_error) == (0, True)
        found = client.fine_tuning.alpha.graders.run(grader=SCORE | {"model": "status-429"}, model_sample="Paris")
        assert found.metadata.errors.api_model_grader_server_error
        assert found.metadata.errors.api_model_grader_server_error_details == "upstream says status-429"

    def test_the_embedded_engine_can_be_the_judge(self, client: OpenAI) -> None:
        """It knows no structured outputs and is asked again without; what the starter model thinks is its own affair."""
        found = client.fine_tuning.alpha.graders.run(
            grader=SCORE | {"model": "starter", "sampling_params": {"max_completions_tokens": 16, "temperature": 0}},
            model_sample="Paris",
        )
        assert not found.metadata.errors.api_model_grader_server_error
        assert found.metadata.sampled_model_name == "starter"
        assert found.metadata.token_usage

    def test_a_model_of_another_project(self, client: OpenAI, stranger: OpenAI) -> None:
        with pytest.raises((BadRequestError, NotFoundError)) as error:
            stranger.fine_tuning.alpha.graders.run(grader=SCORE | {"model": "ft:starter:x::y"}, model_sample="Paris")
        assert error.value.param == "grader.model"

    @pytest.mark.anyio
    async def test_asynchronous(self, asynchronous: AsyncOpenAI) -> None:
        found = await asynchronous.fine_tuning.alpha.graders.run(grader=SCORE, model_sample="Paris")
        assert found.reward == 7
