"""A project sees nothing of another one: what it asks for by id does not exist."""

import pytest
from openai import BadRequestError, NotFoundError, OpenAI
from openai.types.fine_tuning import FineTuningJob

from tests.openai_sdk.stacks import user, wait_until

pytestmark = pytest.mark.train


class TestAnotherProject:
    def test_files(self, stranger: OpenAI, started_job: FineTuningJob) -> None:
        for call in (stranger.files.retrieve, stranger.files.content, stranger.files.delete):
            with pytest.raises(NotFoundError):
                call(started_job.training_file)
        assert list(stranger.files.list()) == []
        with pytest.raises(BadRequestError) as refused:
            stranger.fine_tuning.jobs.create(model="starter", training_file=started_job.training_file)
        assert refused.value.param == "training_file"

    def test_jobs(self, stranger: OpenAI, started_job: FineTuningJob) -> None:
        jobs = stranger.fine_tuning.jobs
        for call in (jobs.retrieve, jobs.cancel, jobs.list_events, jobs.checkpoints.list):
            with pytest.raises(NotFoundError):
                call(started_job.id)
        assert list(jobs.list()) == []

    def test_models(self, stranger: OpenAI, tuned: FineTuningJob) -> None:
        name = str(tuned.fine_tuned_model)
        assert name not in [model.id for model in stranger.models.list()]
        with pytest.raises(NotFoundError) as refused:
            stranger.models.retrieve(name)
        assert refused.value.code == "model_not_found"
        with pytest.raises(NotFoundError) as refused:
            stranger.chat.completions.create(model=name, messages=user("hello"))
        assert refused.value.code == "model_not_found"

    def test_exchanges(self, client: OpenAI, stranger: OpenAI) -> None:
        raw = client.chat.completions.with_raw_response.create(model="echo", messages=user("a secret"))
        path = f"/exchanges/{raw.headers['x-request-id']}"

        def logged() -> bool:
            try:
                return bool(client.get(path, cast_to=dict[str, object]))
            except NotFoundError:
                return False

        wait_until(logged, "the call is logged")
        with pytest.raises(NotFoundError):
            stranger.get(path, cast_to=dict[str, object])
        reply_id = raw.parse().id
        with pytest.raises(NotFoundError):
            stranger.get(f"/exchanges/{reply_id}", cast_to=dict[str, object])
