"""`kill -9` of one part at a time."""

import pytest
from openai import APIStatusError, OpenAI
from openai.types.fine_tuning import FineTuningJob

from deploy.demo.stack import DemoStack, Key
from tests.faults.load import Load
from tests.faults.parts import kill, part, steps, wait_for_restart, wait_until_logged
from tests.openai_sdk.stacks import wait_until

pytestmark = pytest.mark.train

MORE = 3
"""Calls that each model must answer before and after."""


@pytest.mark.parametrize("name", ["worker", "redis", "postgres", "engine"])
def test_a_killed_part_comes_back(stack: DemoStack, key: Key, published: FineTuningJob, name: str) -> None:
    """While chats go on: none that a client saw complete is lost, and those that do not need the part do not notice."""
    models = ("echo", "starter", str(published.fine_tuned_model))
    with Load(stack, key, *models) as load:
        _wait_for_more(load, models)
        before = part(stack, name)
        kill(before.pid)
        wait_for_restart(stack, name, before)
        _wait_for_more(load, models)
    affected = models[1:] if name == "engine" else ()
    assert [model for model in models if load.failed[model] and model not in affected] == []
    for error in (error for model in affected for error in load.failed[model]):
        assert not isinstance(error, APIStatusError) or error.status_code >= 500
    wait_until_logged(stack, key, load.seen)


class TestAJobWhoseWorkerWasKilled:
    def test_went_on_from_a_checkpoint(self, client: OpenAI, published: FineTuningJob) -> None:
        told = [event.message for event in client.fine_tuning.jobs.list_events(published.id, limit=100)]
        assert len([message for message in told if message.startswith("Training goes on after step")]) == 1
        assert told.count("Fine-tuning job started") == 1

    def test_told_every_step_once(self, client: OpenAI, published: FineTuningJob) -> None:
        assert steps(client, published) == list(range(1, 20 * 24 // 8 + 1))


def _wait_for_more(load: Load, models: tuple[str, ...]) -> None:
    """Each model has answered some more calls since now."""
    before = {model: len(load.completed[model]) for model in models}
    wait_until(
        lambda: all(len(load.completed[model]) >= before[model] + MORE for model in models), "calls are answered"
    )
