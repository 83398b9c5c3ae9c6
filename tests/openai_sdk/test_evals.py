"""client.evals as old scripts use it, every reply held against the SDK's own types and OpenAI's schemas."""

import json
import time
from typing import Any

import pytest
from openai import BadRequestError, NotFoundError, OpenAI

from tests.openai_sdk.stacks import wait_until

SCHEMA: Any = {
    "type": "object",
    "properties": {"ticket": {"type": "string"}, "label": {"type": "string"}},
    "required": ["ticket", "label"],
}
CONFIG: Any = {"type": "custom", "item_schema": SCHEMA, "include_sample_schema": True}
EXACT: Any = {
    "type": "string_check", "name": "Match", "input": "{{ sample.output_text }}", "reference": "{{ item.label }}",
    "operation": "eq",
}  # fmt: skip
ALIKE: Any = {
    "type": "text_similarity", "name": "Alike", "input": "{{ sample.output_text }}", "reference": "{{ item.label }}",
    "evaluation_metric": "fuzzy_match", "pass_threshold": 0.8,
}  # fmt: skip
SCORE: Any = {
    "type": "score_model", "name": "Judge", "model": "echo", "range": [1, 7], "pass_threshold": 5.5,
    "input": [{"role": "system", "content": "Be strict."}, {"role": "user", "content": "Score: 6"}],
}  # fmt: skip
LABEL: Any = {
    "type": "label_model", "name": "Tone", "model": "echo", "input": [{"role": "user", "content": "polite"}],
    "labels": ["polite", "rude"], "passing_labels": ["polite"],
}  # fmt: skip
ITEMS = [{"ticket": "Hardware", "label": "Hardware"}, {"ticket": "My screen", "label": "Hardware"}]
ENDED = ("completed", "failed", "canceled")


def asked(source: Any, **more: Any) -> Any:
    messages = {"type": "template", "template": [{"role": "user", "content": "{{ item.ticket }}"}]}
    return {"type": "completions", "model": "echo", "input_messages": messages, "source": source, **more}


def inline(*items: Any) -> Any:
    return {"type": "file_content", "content": [{"item": item} for item in items]}


def ended(client: OpenAI, run: Any) -> Any:
    wait_until(lambda: client.evals.runs.retrieve(run.id, eval_id=run.eval_id).status in ENDED, f"{run.id} has ended")
    return client.evals.runs.retrieve(run.id, eval_id=run.eval_id)


class TestEvals:
    def test_their_life(self, client: OpenAI) -> None:
        made = client.evals.create(
            name="Support",
            data_source_config=CONFIG,
            testing_criteria=[EXACT, ALIKE, SCORE, LABEL],
            metadata={"team": "support"},
        )
        assert made.id.startswith("eval_")
        assert [each.name for each in made.testing_criteria] == ["Match", "Alike", "Judge", "Tone"]
        assert client.evals.retrieve(made.id).to_dict() == made.to_dict()
        changed = client.evals.update(made.id, name="Renamed", metadata={"team": "sales"})
        assert (changed.name, changed.metadata) == ("Renamed", {"team": "sales"})
        found = [each.id for each in client.evals.list(limit=1, order="desc", order_by="updated_at")]
        assert found[0] == made.id
        assert len(found) == len(set(found))
        gone = client.evals.delete(made.id)
        assert (gone.deleted, gone.eval_id, gone.object) == (True, made.id, "eval.deleted")
        with pytest.raises(NotFoundError):
            client.evals.retrieve(made.id)

    @pytest.mark.parametrize("kind", ["logs", "stored_completions"])
    def test_of_stored_completions(self, client: OpenAI, kind: str) -> None:
        config: Any = {"type": kind, "metadata": {"use": "shop"}}
        made = client.evals.create(name="Logs", data_source_config=config, testing_criteria=[EXACT])
        assert made.data_source_config.type == kind

    def test_what_is_wrong_is_named(self, client: OpenAI) -> None:
        wrong: Any = EXACT | {"operation": "is"}
        with pytest.raises(BadRequestError) as error:
            client.evals.create(data_source_config=CONFIG, testing_criteria=[wrong])
        assert error.value.param == "testing_criteria[0].operation"


class TestRuns:
    def test_with_inline_data(self, client: OpenAI) -> None:
        of = client.evals.create(
            name="Inline", data_source_config=CONFIG, testing_criteria=[EXACT, ALIKE, SCORE, LABEL]
        )
        params: Any = {"temperature": 0.5, "max_completion_tokens": 64, "top_p": 0.9, "seed": 7}
        source = asked(inline(*ITEMS), sampling_params=params)
        run = client.evals.runs.create(of.id, name="first", data_source=source, metadata={"a": "b"})
        assert (run.status, run.name, run.metadata) == ("queued", "first", {"a": "b"})
        run = ended(client, run)
        assert run.status == "completed", run.error
        assert (run.result_counts.total, run.result_counts.passed, run.result_counts.failed) == (2, 1, 1)
        assert [each.passed for each in run.per_testing_criteria_results] == [1, 1, 2, 2]
        assert run.per_model_usage[0].invocation_count == 6
        assert run.report_url.startswith("http")
        items = list(client.evals.runs.output_items.list(run.id, eval_id=of.id, limit=1))
        assert [item.status for item in items] == ["pass", "fail"]
        sample = items[1].sample
        assert (sample.input[0].content, sample.output[0].content) == ("My screen", "My screen")
        assert (sample.temperature, sample.max_completion_tokens, sample.top_p, sample.seed) == (0.5, 64, 0.9, 7)
        assert [result.score for result in items[0].results] == [1, 1, 6, 1]
        failed = list(client.evals.runs.output_items.list(run.id, eval_id=of.id, status="fail"))
        assert [item.id for item in failed] == [items[1].id]
        one = client.evals.runs.output_items.retrieve(items[0].id, eval_id=of.id, run_id=run.id)
        assert one.datasource_item == ITEMS[0]

    def test_with_a_file(self, client: OpenAI) -> None:
        lines = b"".join(json.dumps({"item": item}).encode() + b"\n" for item in ITEMS)
        sent = client.files.with_raw_response.create(file=("evals.jsonl", lines), purpose="evals")
        file_id = json.loads(sent.content)["id"]  # the SDK's own type of a file forgot this purpose
        of = client.evals.create(name="File", data_source_config=CONFIG, testing_criteria=[EXACT])
        run = ended(client, client.evals.runs.create(of.id, data_source=asked({"type": "file_id", "id": file_id})))
        assert run.status == "completed", run.error
        assert (run.result_counts.total, run.result_counts.passed) == (2, 1)

    def test_with_answers_that_are_there(self, client: OpenAI) -> None:
        of = client.evals.create(name="Jsonl", data_source_config=CONFIG, testing_criteria=[EXACT])
        content: Any = [{"item": item, "sample": {"output_text": "Hardware"}} for item in ITEMS]
        source: Any = {"type": "jsonl", "source": {"type": "file_content", "content": content}}
        run = ended(client, client.evals.runs.create(of.id, data_source=source))
        assert (run.status, run.result_counts.passed) == ("completed", 2)

    def test_of_stored_completions(self, client: OpenAI) -> None:
        use = {"use": f"shop-{time.time_ns()}"}
        messages: Any = [{"role": "system", "content": "Label it."}, {"role": "user", "content": "Hardware"}]
        client.chat.completions.create(model="echo", messages=messages, store=True, metadata=use)
        config: Any = {"type": "logs", "metadata": use}
        matches = EXACT | {"reference": "Hardware"}
        of = client.evals.create(name="Logs", data_source_config=config, testing_criteria=[matches])
        source: Any = {"type": "completions", "source": {"type": "stored_completions", "metadata": use}}
        wait_until(lambda: client.chat.completions.list(metadata=use).data, "the completion is stored")
        run = ended(client, client.evals.runs.create(of.id, data_source=source))
        assert (run.status, run.result_counts.passed) == ("completed", 1), run.error
        again: Any = source | {
            "model": "echo",
            "input_messages": {"type": "item_reference", "item_reference": "item.input"},
        }
        run = ended(client, client.evals.runs.create(of.id, data_source=again))
        assert (run.status, run.model, run.result_counts.passed) == ("completed", "echo", 1)

    def test_the_words_of_the_responses_api(self, client: OpenAI) -> None:
        of = client.evals.create(name="Responses", data_source_config=CONFIG, testing_criteria=[EXACT])
        source = asked(inline(*ITEMS)) | {"type": "responses"}
        run = ended(client, client.evals.runs.create(of.id, data_source=source))
        assert (run.status, run.result_counts.total) == ("completed", 2)

    def test_stored_responses_are_refused_by_name(self, client: OpenAI) -> None:
        of = client.evals.create(name="Responses", data_source_config=CONFIG, testing_criteria=[EXACT])
        source: Any = {"type": "responses", "model": "echo", "source": {"type": "responses"}}
        with pytest.raises(BadRequestError, match="no responses are stored here"):
            client.evals.runs.create(of.id, data_source=source)

    def test_items_that_do_not_fit(self, client: OpenAI) -> None:
        of = client.evals.create(name="Unfit", data_source_config=CONFIG, testing_criteria=[EXACT])
        with pytest.raises(BadRequestError, match="'label' is a required property"):
            client.evals.runs.create(of.id, data_source=asked(inline({"ticket": "x"})))

    def test_lists_cancels_and_deletes(self, client: OpenAI) -> None:
        of = client.evals.create(name="Cancel", data_source_config=CONFIG, testing_criteria=[EXACT])
        source = asked(inline(*ITEMS * 100), model="starter")
        runs = [client.evals.runs.create(of.id, data_source=source) for _ in range(2)]
        canceled = client.evals.runs.cancel(runs[0].id, eval_id=of.id)
        assert canceled.status == "canceled"
        as_before = client.post(f"/evals/{of.id}/runs/{runs[1].id}", cast_to=object)
        assert as_before["status"] == "canceled"  # type: ignore[index]
        assert [each.id for each in client.evals.runs.list(of.id, limit=1)] == [run.id for run in runs]
        assert [each.id for each in client.evals.runs.list(of.id, status="queued")] == []
        gone = client.evals.runs.delete(runs[0].id, eval_id=of.id)
        assert (gone.deleted, gone.run_id) == (True, runs[0].id)
        assert [each.id for each in client.evals.runs.list(of.id, order="desc")] == [runs[1].id]

    def test_the_embedded_engine_is_measured(self, client: OpenAI) -> None:
        """Repeats and metrics are extensions: in extra_body, and in what the SDK keeps of unknown fields."""
        of = client.evals.create(name="Metrics", data_source_config=CONFIG, testing_criteria=[ALIKE])
        params: Any = {"max_completion_tokens": 12, "temperature": 0}
        source = asked(inline(*ITEMS), model="starter", sampling_params=params)
        run = ended(client, client.evals.runs.create(of.id, data_source=source, extra_body={"repeats": 2}))
        assert run.status == "completed", run.error
        assert run.result_counts.total == 4
        assert run.metrics["steadiness"]["k"] == 2
        assert run.metrics["pass_rate"]["clusters"] == 2


class TestOfAnotherProject:
    def test_is_not_there(self, client: OpenAI, stranger: OpenAI) -> None:
        of = client.evals.create(name="Mine", data_source_config=CONFIG, testing_criteria=[EXACT])
        with pytest.raises(NotFoundError):
            stranger.evals.retrieve(of.id)
        with pytest.raises(NotFoundError):
            stranger.evals.runs.create(of.id, data_source=asked(inline(*ITEMS)))
