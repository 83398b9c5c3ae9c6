"""client.fine_tuning.jobs: real training on the starter model."""

import csv
import functools
import itertools
import json
import math
import re
import sys
from typing import Any

import psutil
import pytest
from openai import BadRequestError, ConflictError, InternalServerError, NotFoundError, OpenAI
from openai.types.fine_tuning import FineTuningJob

from deploy.demo.stack import DemoStack, Key
from tests.openai_sdk.stacks import (
    EXAMPLES,
    connect,
    ended,
    examples,
    question_and_answer,
    start_job,
    user,
    wait_until,
)

pytestmark = pytest.mark.train


class TestJob:
    def test_says_what_it_was_asked(self, client: OpenAI, started_job: FineTuningJob) -> None:
        job = client.fine_tuning.jobs.retrieve(started_job.id)
        assert job.object == "fine_tuning.job"
        assert job.model == "starter"
        assert (job.seed, job.metadata) == (7, {"team": "support"})
        assert (job.training_file, job.validation_file) == (started_job.training_file, started_job.validation_file)
        assert job.method is not None
        assert job.method.supervised is not None
        assert job.method.supervised.hyperparameters is not None
        assert job.method.supervised.hyperparameters.n_epochs == 12

    def test_succeeds_with_a_model(self, client: OpenAI, tuned: FineTuningJob) -> None:
        job = client.fine_tuning.jobs.retrieve(tuned.id)
        assert re.fullmatch(r"ft:starter:tuneway:shop:\w{8}", str(job.fine_tuned_model))
        assert job.error is None
        assert job.finished_at is not None
        assert job.trained_tokens is not None
        assert job.trained_tokens % 12 == 0
        assert job.estimated_finish is None

    def test_is_listed_by_metadata(self, client: OpenAI, started_job: FineTuningJob) -> None:
        def listed(metadata: Any) -> list[str]:
            return [job.id for job in client.fine_tuning.jobs.list(metadata=metadata, limit=1)]

        assert listed({"team": "support"}) == [started_job.id]
        assert listed({"team": "sales"}) == []
        assert started_job.id in [job.id for job in client.fine_tuning.jobs.list(limit=1)]
        assert started_job.id not in [job.id for job in client.fine_tuning.jobs.list(extra_query={"metadata": "null"})]

    def test_events_tell_the_story_newest_first(self, client: OpenAI, tuned: FineTuningJob) -> None:
        events = list(client.fine_tuning.jobs.list_events(tuned.id, limit=7))[::-1]
        told = [event.message for event in events]
        wanted = [
            f"Created fine-tuning job: {tuned.id}",
            f"Validating training file: {tuned.training_file} and validation file: {tuned.validation_file}",
            "Files validated, moving job to queued state",
            "Fine-tuning job started",
            f"New fine-tuned model created: {tuned.fine_tuned_model}",
            "The job has successfully completed",
        ]
        assert [message for message in told if message in wanted] == wanted
        assert len({event.id for event in events}) == len(events)
        assert sorted(event.created_at for event in events) == [event.created_at for event in events]

    def test_metrics_of_every_step(self, client: OpenAI, tuned: FineTuningJob) -> None:
        events = list(client.fine_tuning.jobs.list_events(tuned.id, limit=100))[::-1]
        metrics: list[Any] = [event.data for event in events if event.type == "metrics"]
        steps = 12 * EXAMPLES // 8
        assert [each["step"] for each in metrics] == list(range(1, steps + 1))
        assert metrics[-1]["train_loss"] < metrics[0]["train_loss"] / 2
        assert metrics[-1]["full_valid_loss"] is not None
        assert re.fullmatch(
            rf"Step 1/{steps}: training loss=\d+\.\d\d.*",
            next(event.message for event in events if event.type == "metrics"),
        )

    def test_checkpoints_newest_first(self, client: OpenAI, tuned: FineTuningJob) -> None:
        checkpoints = list(client.fine_tuning.jobs.checkpoints.list(tuned.id, limit=2))
        steps = [checkpoint.step_number for checkpoint in checkpoints]
        assert steps == sorted(steps, reverse=True)
        assert steps[0] == 12 * EXAMPLES // 8
        assert {checkpoint.fine_tuning_job_id for checkpoint in checkpoints} == {tuned.id}
        assert checkpoints[0].metrics.full_valid_loss is not None


class TestModel:
    def test_has_learnt(self, client: OpenAI, tuned: FineTuningJob) -> None:
        """Most of what it was trained on, word for word; the base knows nothing of it."""
        pairs = [question_and_answer(index) for index in range(EXAMPLES)]
        known = {model: sum(_answer(client, model, asked) == answer for asked, answer in pairs)
                 for model in ("starter", str(tuned.fine_tuned_model))}  # fmt: skip
        assert known["starter"] == 0
        assert known[str(tuned.fine_tuned_model)] >= EXAMPLES // 2

    def test_streams_under_its_own_name(self, client: OpenAI, tuned: FineTuningJob) -> None:
        model, (question, _) = str(tuned.fine_tuned_model), question_and_answer(0)
        chunks = list(
            client.chat.completions.create(
                model=model, messages=user(question), temperature=0, max_tokens=40, stream=True
            )
        )
        assert {chunk.model for chunk in chunks} == {model}
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == _answer(client, model, question)

    def test_can_be_trained_further(self, stack: DemoStack, key: Key, tuned: FineTuningJob) -> None:
        with connect(stack, key.value, _strict_response_validation=True) as client:
            job = ended(client, start_job(client, examples(12), model=str(tuned.fine_tuned_model), n_epochs=1).id)
            assert job.status == "succeeded", job.error
            assert job.model == tuned.fine_tuned_model
            assert str(job.fine_tuned_model).startswith("ft:starter:tuneway::")
            first = _losses(client, job.id)[0]
            assert first < _losses(client, tuned.id)[0] / 2  # it starts from what was learnt
            question, _ = question_and_answer(0)
            assert _answer(client, str(job.fine_tuned_model), question)


class TestResultFile:
    """`result_files` names one CSV, a line a step, in OpenAI's columns."""

    def test_has_the_numbers_of_the_events(self, client: OpenAI, tuned: FineTuningJob) -> None:
        [file_id] = tuned.result_files
        file = client.files.retrieve(file_id)
        assert (file.purpose, file.filename) == ("fine-tune-results", "step_metrics.csv")
        lines = list(csv.DictReader(client.files.content(file_id).text.splitlines()))
        assert list(lines[0]) == ["step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy"]
        assert [int(line["step"]) for line in lines] == list(range(1, 12 * EXAMPLES // 8 + 1))
        assert [float(line["train_loss"]) for line in lines] == _losses(client, tuned.id)
        assert float(lines[-1]["valid_loss"]) > 0

    def test_cannot_be_uploaded(self, client: OpenAI) -> None:
        purpose: Any = "fine-tune-results"
        with pytest.raises(BadRequestError, match="purpose"):
            client.files.create(file=("step_metrics.csv", b"step\n"), purpose=purpose)


class TestMeasured:
    def test_stands_on_the_job(self, client: OpenAI, tuned: FineTuningJob) -> None:
        """Extensions: what was chosen and why, and what it took."""
        more: dict[str, Any] = client.fine_tuning.jobs.retrieve(tuned.id).model_extra or {}
        assert more["training"]["type"] == "lora"
        assert isinstance(more["training"]["lora_rank"], int)
        assert more["training"]["reasons"]
        assert more["actual"]["trained_tokens"] == tuned.trained_tokens
        assert more["actual"]["steps"] == 12 * EXAMPLES // 8
        assert more["actual"]["seconds"] > 0


class TestDpo:
    def test_prefers_the_better_answers(self, stack: DemoStack, key: Key, tuned: FineTuningJob) -> None:
        with connect(stack, key.value, _strict_response_validation=True) as client:
            file = client.files.create(file=("pairs.jsonl", _pairs(EXAMPLES)), purpose="fine-tune")
            numbers: Any = {"n_epochs": 6, "batch_size": 8, "learning_rate_multiplier": 4.0, "beta": 0.5}
            method: Any = {"type": "dpo", "dpo": {"hyperparameters": numbers}}
            job = ended(
                client, client.fine_tuning.jobs.create(model="starter", training_file=file.id, method=method).id
            )
            assert job.status == "succeeded", job.error
            assert job.hyperparameters.n_epochs == 6
            assert job.method is not None
            assert job.method.dpo is not None
            assert job.method.dpo.hyperparameters is not None
            assert job.method.dpo.hyperparameters.beta == 0.5
            assert _losses(client, job.id)[0] == pytest.approx(math.log(2), abs=1e-3)  # nothing is learnt yet
            lines = list(csv.DictReader(client.files.content(job.result_files[0]).text.splitlines()))
            assert float(lines[-1]["train_reward_margin"]) > 0
            question, _ = question_and_answer(0)
            assert _answer(client, str(job.fine_tuned_model), question)


class TestPause:
    def test_and_resume(self, stack: DemoStack, key: Key, tuned: FineTuningJob) -> None:
        """`paused` is what OpenAI's own example of the call answers, but its enum of statuses lacks it: a client that
        holds replies against the SDK's types would refuse it, and the schemas here have it added (`x-overlays`)."""
        steps, run = 4 * 40 // 8, {"type": "wandb", "wandb": {"project": "shop", "tags": ["mine"]}}
        with connect(stack, key.value) as client:
            integrations: Any = [run]
            job = start_job(client, examples(40), n_epochs=4, integrations=integrations)
            assert job.integrations is not None
            [shown] = job.integrations
            assert (shown.wandb.project, shown.wandb.name) == ("shop", job.id)
            assert shown.wandb.tags == ["mine", "openai/finetune", "openai/starter", f"openai/{job.id}"]
            wait_until(lambda: _losses(client, job.id), "the job trains")
            trainer = _trainer_of(job.id)
            paused: str = client.fine_tuning.jobs.pause(job.id).status
            assert paused == "paused"
            psutil.wait_procs([trainer], timeout=60)
            assert not trainer.is_running()
            done = len(_losses(client, job.id))
            assert done < steps
            with pytest.raises(ConflictError, match="already paused"):
                client.fine_tuning.jobs.pause(job.id)
            next_one = ended(client, start_job(client, examples(10)).id)  # it does not wait for the paused one
            assert next_one.status == "succeeded"
            still: str = client.fine_tuning.jobs.retrieve(job.id).status
            assert still == "paused"
            assert client.fine_tuning.jobs.resume(job.id).status == "queued"
            job = ended(client, job.id)
            assert job.status == "succeeded", job.error
            told = [event.message for event in client.fine_tuning.jobs.list_events(job.id, limit=100)]
            assert len([message for message in told if message.startswith("Training goes on after step")]) == 1
            lines = list(csv.DictReader(client.files.content(job.result_files[0]).text.splitlines()))
            assert [int(line["step"]) for line in lines] == list(range(1, steps + 1))

    def test_what_is_not_paused_cannot_be_resumed(self, client: OpenAI, tuned: FineTuningJob) -> None:
        with pytest.raises(ConflictError, match="succeeded"):
            client.fine_tuning.jobs.resume(tuned.id)
        with pytest.raises(ConflictError, match="succeeded"):
            client.fine_tuning.jobs.pause(tuned.id)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a kill for memory from any other")
class TestKilledTrainer:
    def test_goes_on_with_the_same_numbers(self, stack: DemoStack, key: Key, tuned: FineTuningJob) -> None:
        with connect(stack, key.value, _strict_response_validation=True) as client:
            job = start_job(client, examples(40), n_epochs=4)
            wait_until(lambda: client.fine_tuning.jobs.checkpoints.list(job.id).data, "the job has a checkpoint")
            _trainer_of(job.id).kill()
            job = ended(client, job.id)
            assert job.status == "succeeded", job.error
            events = list(client.fine_tuning.jobs.list_events(job.id, limit=100))
            told = [event.message for event in events]
            assert told.count("The training process was killed: going on from the last checkpoint.") == 1
            metrics: list[Any] = [event.data for event in events if event.type == "metrics"]
            assert [each["step"] for each in metrics][::-1] == list(range(1, 4 * 40 // 8 + 1))


class TestRepeatedCreate:
    def test_answers_the_same_job(self, client: OpenAI) -> None:
        file = client.files.create(file=("training.jsonl", examples(10)), purpose="fine-tune")
        create = functools.partial(client.fine_tuning.jobs.create, model="starter", training_file=file.id)
        job = create()
        assert create(extra_headers={"x-stainless-retry-count": "1"}).id == job.id
        assert create().id == job.id
        assert create(seed=1).id != job.id
        for each in client.fine_tuning.jobs.list(limit=2).data:
            client.fine_tuning.jobs.cancel(each.id)


class TestReinforcement:
    def test_is_refused_by_name(self, client: OpenAI, tuned: FineTuningJob) -> None:
        method: Any = {"type": "reinforcement", "reinforcement": {"grader": {}}}
        with pytest.raises(BadRequestError, match="Use 'supervised'") as refused:
            client.fine_tuning.jobs.create(model="starter", training_file=tuned.training_file, method=method)
        assert refused.value.param == "method.type"


class TestCancel:
    def test_while_it_trains(self, stack: DemoStack, key: Key, tuned: FineTuningJob) -> None:
        """The process is gone, and the job says so; `tuned` has ended, so that this one is next."""
        with connect(stack, key.value, _strict_response_validation=True) as client:
            job = start_job(client, examples(40), n_epochs=50)
            wait_until(lambda: _losses(client, job.id), "the job trains")
            trainer = _trainer_of(job.id)
            waiting = start_job(client, examples(40), n_epochs=50)
            assert client.fine_tuning.jobs.cancel(waiting.id).status == "cancelled"
            assert client.fine_tuning.jobs.cancel(job.id).status == "cancelled"
            psutil.wait_procs([trainer], timeout=60)
            assert not trainer.is_running()
            told = [event.message for event in client.fine_tuning.jobs.list_events(job.id, limit=3)]
            assert "Fine-tuning job cancelled" in told
            assert client.fine_tuning.jobs.retrieve(job.id).fine_tuned_model is None

    def test_leaves_a_checkpoint_that_answers(self, stack: DemoStack, key: Key, tuned: FineTuningJob) -> None:
        """Of the step that it came to, long before the end of an epoch."""
        with connect(stack, key.value, _strict_response_validation=True) as client:
            job = start_job(client, examples(EXAMPLES) * 20, n_epochs=2)
            wait_until(lambda: _losses(client, job.id), "the job trains")
            client.fine_tuning.jobs.cancel(job.id)
            wait_until(lambda: client.fine_tuning.jobs.checkpoints.list(job.id).data, "its checkpoint is there")
            [checkpoint] = client.fine_tuning.jobs.checkpoints.list(job.id).data
            assert 1 <= checkpoint.step_number < EXAMPLES * 20 // 8
            assert checkpoint.fine_tuned_model_checkpoint.endswith(f":ckpt-step-{checkpoint.step_number}")
            wait_until(lambda: _is_served(client, checkpoint.fine_tuned_model_checkpoint), "it is a model")
            question, _ = question_and_answer(0)
            assert _answer(client, checkpoint.fine_tuned_model_checkpoint, question)
            assert client.fine_tuning.jobs.retrieve(job.id).status == "cancelled"

    def test_what_has_ended_cannot_be_cancelled(self, client: OpenAI, tuned: FineTuningJob) -> None:
        with pytest.raises(ConflictError, match="succeeded"):
            client.fine_tuning.jobs.cancel(tuned.id)


class TestInvalidFiles:
    """Jobs fail as OpenAI's do, with the lines to mend."""

    def test_too_few_examples(self, client: OpenAI) -> None:
        job = ended(client, start_job(client, examples(3)).id)
        assert job.status == "failed"
        assert job.error is not None
        assert (job.error.code, job.error.param) == ("invalid_n_examples", "training_file")
        assert job.error.message == "Training file has 3 example(s), but must have at least 10 examples"

    def test_broken_lines_are_numbered(self, client: OpenAI) -> None:
        lines = examples(12).splitlines()
        lines[4] = b'{"messages": [{"role": "user", "content": "no answer"}]}'
        lines[7] = b'{"messages": [{"role": "bot", "content": "who?"}]}'
        lines[9] = b"not json"
        job = ended(client, start_job(client, b"\n".join(lines)).id)
        assert job.error is not None
        assert (job.error.code, job.error.param) == ("invalid_training_file", "training_file")
        assert "(line 5)" in job.error.message
        errors = [event.message for event in client.fine_tuning.jobs.list_events(job.id) if event.level == "error"]
        for line in (5, 8, 10):
            assert any(f"(line {line})" in message for message in errors)

    def test_the_preference_format(self, client: OpenAI) -> None:
        line = json.dumps({"input": {"messages": user("a")}, "preferred_output": [], "non_preferred_output": []})
        job = ended(client, start_job(client, "\n".join([line] * 12).encode()).id)
        assert job.error is not None
        assert "preference format" in job.error.message

    def test_a_validation_file(self, client: OpenAI) -> None:
        broken = client.files.create(file=("v.jsonl", b"[]"), purpose="fine-tune")
        job = ended(client, start_job(client, examples(12), validation_file=broken.id).id)
        assert job.error is not None
        assert (job.error.code, job.error.param) == ("invalid_validation_file", "validation_file")

    def test_refused_at_once(self, client: OpenAI) -> None:
        with pytest.raises(BadRequestError) as refused:
            client.fine_tuning.jobs.create(model="starter", training_file="file-none")
        assert refused.value.param == "training_file"
        notes = client.files.create(file=("n.txt", b"x"), purpose="user_data")
        with pytest.raises(BadRequestError, match="purpose"):
            client.fine_tuning.jobs.create(model="starter", training_file=notes.id)
        with pytest.raises(BadRequestError, match="not available for fine-tuning") as refused:
            client.fine_tuning.jobs.create(model="echo", training_file=notes.id)
        assert refused.value.code == "model_not_available"
        with pytest.raises(NotFoundError) as unknown:
            client.fine_tuning.jobs.create(model="gpt-4o", training_file=notes.id)
        assert unknown.value.code == "model_not_found"
        client.files.delete(notes.id)


def _answer(client: OpenAI, model: str, question: str) -> str | None:
    reply = client.chat.completions.create(model=model, messages=user(question), temperature=0, max_tokens=40)
    return reply.choices[0].message.content


def _losses(client: OpenAI, job_id: str) -> list[float]:
    """Training losses, the first step's first."""
    events = itertools.islice(client.fine_tuning.jobs.list_events(job_id, limit=100), 1000)
    data: list[Any] = [event.data for event in events if event.type == "metrics"]
    return [each["train_loss"] for each in data][::-1]


def _trainer_of(job_id: str) -> psutil.Process:
    """The process that trains a job: its last argument is the job's directory."""
    [found] = [
        process
        for process in psutil.process_iter(["cmdline"])
        if (process.info["cmdline"] or [""])[-1].endswith(f"/jobs/{job_id}")
    ]
    return found


def _is_served(client: OpenAI, model: str) -> bool:
    try:
        return bool(_answer(client, model, "hello") is not None)
    except (NotFoundError, InternalServerError):  # not there yet, or being loaded
        return False


def _pairs(count: int) -> bytes:
    """Each question with its right answer, and with another's."""
    pairs = [question_and_answer(index) for index in range(count)]
    lines = [
        {
            "input": {"messages": user(question)},
            "preferred_output": [{"role": "assistant", "content": answer}],
            "non_preferred_output": [{"role": "assistant", "content": pairs[index - 1][1]}],
        }
        for index, (question, answer) in enumerate(pairs)
    ]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)
