"""client.fine_tuning.jobs.checkpoints and client.fine_tuning.checkpoints: the last ones are models that others may be
let call."""

from collections.abc import Iterator
from typing import Any

import pytest
from openai import InternalServerError, NotFoundError, OpenAI, PermissionDeniedError
from openai.resources.fine_tuning.checkpoints import Permissions
from openai.types.fine_tuning import FineTuningJob
from openai.types.fine_tuning.jobs import FineTuningJobCheckpoint

from deploy.demo.stack import DemoStack, Key
from tests.openai_sdk.stacks import connect, ended, examples, question_and_answer, start_job, user, wait_until

pytestmark = pytest.mark.train


def answer(client: OpenAI, model: str, question: str) -> str | None:
    reply = client.chat.completions.create(model=model, messages=user(question), temperature=0, max_tokens=40)
    assert reply.model == model
    return reply.choices[0].message.content


def callable_now(client: OpenAI, model: str) -> bool:
    try:
        answer(client, model, "hello")
    except (NotFoundError, InternalServerError):  # not there yet, or being loaded
        return False
    return True


@pytest.fixture
def checkpoints(client: OpenAI, tuned: FineTuningJob) -> list[FineTuningJobCheckpoint]:
    """Of the job `tuned`, newest first."""
    return list(client.fine_tuning.jobs.checkpoints.list(tuned.id))


class TestCheckpoints:
    def test_last_three_answer_by_their_names(
        self, client: OpenAI, tuned: FineTuningJob, checkpoints: list[FineTuningJobCheckpoint]
    ) -> None:
        assert len(checkpoints) == 12
        question, _ = question_and_answer(0)
        for checkpoint in checkpoints[:3]:
            name = checkpoint.fine_tuned_model_checkpoint
            assert name == f"{tuned.fine_tuned_model}:ckpt-step-{checkpoint.step_number}"
            assert client.models.retrieve(name).id == name
            assert answer(client, name, question)
        listed = [model.id for model in client.models.list() if str(tuned.fine_tuned_model) in model.id]
        assert sorted(listed) == sorted(
            [str(tuned.fine_tuned_model), *(each.fine_tuned_model_checkpoint for each in checkpoints[:3])]
        )

    def test_older_ones_are_listed_but_are_no_models(
        self, client: OpenAI, checkpoints: list[FineTuningJobCheckpoint]
    ) -> None:
        for checkpoint in checkpoints[3:5]:
            with pytest.raises(NotFoundError) as refused:
                answer(client, checkpoint.fine_tuned_model_checkpoint, "hello")
            assert refused.value.code == "model_not_found"

    def test_the_last_is_the_model(
        self, client: OpenAI, tuned: FineTuningJob, checkpoints: list[FineTuningJobCheckpoint]
    ) -> None:
        for index in range(3):
            question, _ = question_and_answer(index)
            final = answer(client, str(tuned.fine_tuned_model), question)
            assert answer(client, checkpoints[0].fine_tuned_model_checkpoint, question) == final

    def test_cost_what_the_base_costs_and_stream(
        self, client: OpenAI, checkpoints: list[FineTuningJobCheckpoint]
    ) -> None:
        name = checkpoints[1].fine_tuned_model_checkpoint
        raw = client.chat.completions.with_raw_response.create(model=name, messages=user("hello"), max_tokens=5)
        assert float(raw.headers["x-tuneway-cost"]) > 0
        chunks = list(client.chat.completions.create(model=name, messages=user("hello"), max_tokens=5, stream=True))
        assert {chunk.model for chunk in chunks} == {name}

    def test_training_goes_on_from_one(
        self, client: OpenAI, checkpoints: list[FineTuningJobCheckpoint], tuned: FineTuningJob
    ) -> None:
        name = checkpoints[1].fine_tuned_model_checkpoint
        job = ended(client, start_job(client, examples(12), model=name).id)
        assert job.status == "succeeded", job.error
        assert job.model == name
        assert str(job.fine_tuned_model).startswith("ft:starter:tuneway::")
        assert answer(client, str(job.fine_tuned_model), "hello")
        events: list[Any] = [event.data for event in client.fine_tuning.jobs.list_events(job.id, limit=100)]
        losses = [data["train_loss"] for data in events if data and "train_loss" in data]
        started: list[Any] = [event.data for event in client.fine_tuning.jobs.list_events(tuned.id, limit=100)]
        first = [data["train_loss"] for data in started if data and data.get("step") == 1]
        assert losses[-1] < first[0] / 2  # from what was learnt, not from the base

    def test_of_a_job_that_is_cancelled_answers(self, client: OpenAI, tuned: FineTuningJob) -> None:
        job = start_job(client, examples(24), n_epochs=50)
        wait_until(lambda: client.fine_tuning.jobs.checkpoints.list(job.id).data, "there is a checkpoint")
        newest = client.fine_tuning.jobs.checkpoints.list(job.id).data[0].fine_tuned_model_checkpoint
        wait_until(lambda: callable_now(client, newest) or _retired(client, job.id, newest), "it answers")
        client.fine_tuning.jobs.cancel(job.id)
        left = client.fine_tuning.jobs.checkpoints.list(job.id).data[0].fine_tuned_model_checkpoint
        wait_until(lambda: callable_now(client, left) or _retired(client, job.id, left), "what it left answers")


def _retired(client: OpenAI, job_id: str, name: str) -> bool:
    """Whether three newer ones are there by now."""
    names = [one.fine_tuned_model_checkpoint for one in client.fine_tuning.jobs.checkpoints.list(job_id, limit=50)]
    return names.index(name) >= 3


class TestPermissions:
    @pytest.fixture
    def checkpoint(self, checkpoints: list[FineTuningJobCheckpoint]) -> str:
        return checkpoints[0].fine_tuned_model_checkpoint

    @pytest.fixture(params=[False, True], ids=["lenient", "strict"])
    def permissions(self, request: pytest.FixtureRequest, stack: DemoStack, checkpoint: str) -> Iterator[Permissions]:
        """With an admin key, which the SDK sends here as its ordinary key; what a test gives is taken away again."""
        with connect(stack, stack.admin_key, _strict_response_validation=request.param) as admin:
            permissions = admin.fine_tuning.checkpoints.permissions
            yield permissions
            for one in list(permissions.list(checkpoint)):
                permissions.delete(one.id, fine_tuned_model_checkpoint=checkpoint)

    def test_are_given_paged_and_taken_away(
        self, client: OpenAI, stranger: OpenAI, key: Key, other_key: Key, checkpoint: str, permissions: Permissions
    ) -> None:
        with pytest.raises(NotFoundError):
            answer(stranger, checkpoint, "hello")
        made = list(permissions.create(checkpoint, project_ids=[other_key.project_id, key.project_id]))
        assert [one.project_id for one in made] == [other_key.project_id, key.project_id]
        assert answer(stranger, checkpoint, "hello") == answer(client, checkpoint, "hello")
        assert checkpoint in [model.id for model in stranger.models.list()]
        paged = list(permissions.list(checkpoint, limit=1, order="ascending"))
        assert sorted(one.id for one in paged) == sorted(one.id for one in made)
        assert [one.id for one in permissions.list(checkpoint, project_id=other_key.project_id)] == [made[0].id]
        gone = permissions.delete(made[0].id, fine_tuned_model_checkpoint=checkpoint)
        assert (gone.id, gone.object, gone.deleted) == (made[0].id, "checkpoint.permission", True)
        with pytest.raises(NotFoundError) as refused:
            answer(stranger, checkpoint, "hello")
        assert refused.value.code == "model_not_found"
        assert checkpoint not in [model.id for model in stranger.models.list()]

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_older_retrieve_is_the_list(self, other_key: Key, checkpoint: str, permissions: Permissions) -> None:
        [made] = list(permissions.create(checkpoint, project_ids=[other_key.project_id]))
        page = permissions.retrieve(checkpoint, limit=10)  # pyright: ignore[reportDeprecated]
        assert [one.id for one in page.data] == [made.id]
        assert (page.first_id, page.last_id, page.has_more) == (made.id, made.id, False)

    def test_who_was_let_call_may_not_delete(
        self, client: OpenAI, stranger: OpenAI, other_key: Key, checkpoint: str, permissions: Permissions
    ) -> None:
        list(permissions.create(checkpoint, project_ids=[other_key.project_id]))
        with pytest.raises(PermissionDeniedError, match="belongs to another project"):
            stranger.models.delete(checkpoint)
        assert client.models.retrieve(checkpoint).id == checkpoint

    def test_of_what_is_no_checkpoint(self, client: OpenAI, other_key: Key, permissions: Permissions) -> None:
        with pytest.raises(NotFoundError) as refused:
            permissions.create("starter", project_ids=[other_key.project_id])
        assert refused.value.code == "model_not_found"
        with pytest.raises(PermissionDeniedError, match="admin key"):
            client.fine_tuning.checkpoints.permissions.list("starter")
