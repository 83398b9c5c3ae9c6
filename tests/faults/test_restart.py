"""SIGTERM while a job trains, and a start on the same data directory: everything goes on."""

from dataclasses import dataclass
from typing import Any

import pytest
from openai import APIStatusError, OpenAI
from openai.types.fine_tuning import FineTuningJob

from deploy.demo.stack import DemoStack, Key
from tests.faults.load import ITSELF, chat
from tests.faults.parts import logged, steps, wait_until_logged
from tests.openai_sdk.stacks import ended, examples, question_and_answer, start_job, user, wait_until

pytestmark = pytest.mark.train

EPOCHS = 30
STEPS_BEFORE = 2


@dataclass
class Past:
    """What was there before the stack was stopped, and the job that trained then."""

    published: FineTuningJob
    answer: str | None
    job: FineTuningJob
    events: list[str]
    """Ids of the job's events, oldest first."""
    step: int
    """The last step that was told of."""
    exchanges: dict[str, str]


@pytest.fixture(scope="module")
def past(stack: DemoStack, key: Key, client: OpenAI, published: FineTuningJob) -> Past:
    """Before the stop; the stack runs again when a test gets it."""
    job = start_job(client, examples(24), n_epochs=EPOCHS)
    answer = _answer_once_loaded(client, published)
    wait_until_logged(stack, key, [chat(client, "echo", stream=stream) for stream in (True, False)])
    wait_until(lambda: len(steps(client, job)) >= STEPS_BEFORE, "the job trains")
    events, step = [event.id for event in _events(client, job)], steps(client, job)[-1]
    exchanges = logged(stack, key)
    stack.stop()
    stack.start()
    stack.wait_until_ready()
    return Past(published, answer, job, events, step, exchanges)


class TestAfterARestart:
    def test_the_job_goes_on_and_succeeds(self, client: OpenAI, past: Past) -> None:
        job = ended(client, past.job.id)
        assert job.status == "succeeded", job.error
        assert _answer(client, job)

    def test_from_its_checkpoint(self, client: OpenAI, past: Past) -> None:
        [resumed] = [event for event in _events(client, past.job) if event.message.startswith("Training goes on")]
        step = int(resumed.message.split()[-1].split("/")[0])
        assert step >= past.step

    def test_no_event_is_lost_or_told_twice(self, client: OpenAI, past: Past) -> None:
        ended(client, past.job.id)
        events = [event.id for event in _events(client, past.job)]
        assert events[: len(past.events)] == past.events
        assert len(set(events)) == len(events)
        assert steps(client, past.job) == list(range(1, EPOCHS * 24 // 8 + 1))
        told = [event.message for event in _events(client, past.job) if event.type == "message"]
        started = [message for message in told if message == "Fine-tuning job started"]
        assert len(started) == 1

    def test_published_models_answer_as_before(self, client: OpenAI, past: Past) -> None:
        assert _answer_once_loaded(client, past.published) == past.answer

    def test_files_survive(self, client: OpenAI, past: Past) -> None:
        assert client.files.content(past.job.training_file).read() == examples(24)

    def test_exchanges_survive(self, stack: DemoStack, key: Key, past: Past) -> None:
        assert past.exchanges.items() <= logged(stack, key).items()


def _answer(client: OpenAI, job: FineTuningJob) -> str | None:
    """The model's own: until it is loaded again, its base would answer."""
    question, _ = question_and_answer(0)
    model = str(job.fine_tuned_model)
    reply = client.chat.completions.create(
        model=model, messages=user(question), temperature=0, max_tokens=20, extra_headers=ITSELF
    )
    return reply.choices[0].message.content


def _answer_once_loaded(client: OpenAI, job: FineTuningJob) -> str | None:
    """Raises TimeoutError when the model is not loaded again."""
    answers: list[str | None] = []

    def answered() -> bool:
        try:
            answers.append(_answer(client, job))
        except APIStatusError as refused:
            if refused.code != "model_loading":
                raise
        return bool(answers)

    wait_until(answered, f"{job.fine_tuned_model} is loaded")
    return answers[0]


def _events(client: OpenAI, job: FineTuningJob) -> list[Any]:
    return list(client.fine_tuning.jobs.list_events(job.id, limit=100))[::-1]
