import httpx
import pytest
from sqlalchemy import text

from gateway.errors import Unavailable
from gateway.services import Services, WorkerServices
from gateway.settings import Settings
from gateway.tasks import resume_fine_tuning_jobs as task
from gateway.tasks.resume_fine_tuning_jobs import resume_fine_tuning_jobs
from tests.fakes.fine_tuning import QUICK, create_job, job_of, until

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient


class TestResumeFineTuningJobs:
    async def test_job_whose_message_was_lost_is_taken_up(
        self, client: Client, sv: Services, wv: WorkerServices, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def away(*_: object, **__: object) -> None:
            raise Unavailable("Redis is away")

        monkeypatch.setattr(sv.queue, "enqueue", away)
        job = await create_job(client)
        assert job["status"] == "validating_files"
        await resume_fine_tuning_jobs(wv, lost_after=0, pauses=QUICK)

        async def succeeded() -> bool:
            return (await job_of(client, job["id"]))["status"] == "succeeded"

        await until(succeeded)

    async def test_young_job_is_left_to_the_queue(self, client: Client, wv: WorkerServices) -> None:
        job = await create_job(client)
        await resume_fine_tuning_jobs(wv, lost_after=60, pauses=QUICK)
        assert (await job_of(client, job["id"]))["status"] == "validating_files"

    async def test_job_that_is_being_validated_is_left_alone(self, client: Client, wv: WorkerServices) -> None:
        job = await create_job(client)
        async with wv.database.session() as session:
            held = "UPDATE fine_tuning_jobs SET lease_holder = 'other', leased_until = now() + interval '1 hour'"
            await session.execute(text(held))
        await resume_fine_tuning_jobs(wv, lost_after=0, pauses=QUICK)
        assert (await job_of(client, job["id"]))["status"] == "validating_files"

    async def test_one_that_cannot_be_validated_now_keeps_no_other_waiting(
        self, client: Client, wv: WorkerServices, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, second = [await create_job(client) for _ in range(2)]
        validate = task.validate_fine_tuning_job

        async def sometimes(wv: WorkerServices, job_id: str, pauses: object) -> None:
            if job_id == first["id"]:
                raise Unavailable("the storage is away")
            await validate(wv, job_id, QUICK)

        monkeypatch.setattr(task, "validate_fine_tuning_job", sometimes)
        await resume_fine_tuning_jobs(wv, lost_after=0, pauses=QUICK)
        assert (await job_of(client, first["id"]))["status"] == "validating_files"
        assert (await job_of(client, second["id"]))["status"] != "validating_files"
