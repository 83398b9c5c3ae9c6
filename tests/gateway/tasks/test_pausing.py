"""Jobs that are paused and go on, wherever they were."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from gateway.fine_tuning import claims
from gateway.services import WorkerServices, worker_services
from gateway.settings import Settings
from gateway.tasks import publish_models
from gateway.tasks import train_fine_tuning_jobs as task
from gateway.tasks import validate_fine_tuning_job as validation
from gateway.tasks.resume_fine_tuning_jobs import resume_fine_tuning_jobs
from gateway.tasks.train_fine_tuning_jobs import train_fine_tuning_jobs
from gateway.tasks.validate_fine_tuning_job import validate_fine_tuning_job
from tests.fakes.fine_tuning import (
    QUICK,
    create_job,
    go_on,
    gone,
    idle,
    job_of,
    messages_of,
    set_mode,
    starts_of,
    training,
    until,
    wait,
)

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient


async def do(client: Client, job: dict[str, Any], verb: str) -> dict[str, Any]:
    answer = await client.post(f"/v1/fine_tuning/jobs/{job['id']}/{verb}")
    assert answer.status_code == 200, answer.text
    return answer.json()


class TestWhileRunning:
    async def test_stops_the_trainer_and_goes_on_from_its_checkpoint(
        self, client: Client, wv: WorkerServices, settings: Settings
    ) -> None:
        job = await training(client, wv, settings, mode="saves")
        assert (await job_of(client, job["id"]))["estimated_finish"] is not None
        paused = await do(client, job, "pause")
        assert (paused["status"], paused["estimated_finish"]) == ("paused", None)
        (start,) = starts_of(settings, job["id"])
        await until(lambda: gone(start["pid"]))
        await idle(wv)
        assert (await messages_of(client, job["id"]))[-3:] == [
            "Fine-tuning job paused",
            "Step 2/3: training loss=0.50",
            "Checkpoint created at step 2",
        ]
        await train_fine_tuning_jobs(wv, QUICK)
        assert (await job_of(client, job["id"]))["status"] == "paused"
        assert (await job_of(client, job["id"]))["estimated_finish"] is None
        assert (settings.data_dir / "jobs" / job["id"] / "checkpoints" / "step-2").exists()
        set_mode(settings, "succeed")
        assert (await do(client, job, "resume"))["status"] == "queued"
        await train_fine_tuning_jobs(wv, QUICK)
        assert (await job_of(client, job["id"]))["status"] == "succeeded"
        told = await messages_of(client, job["id"])
        assert "Training goes on after step 2/3" in told
        assert len(told) == len(set(told))
        assert len(starts_of(settings, job["id"])) == 2

    async def test_another_job_has_the_device_meanwhile(
        self, client: Client, wv: WorkerServices, settings: Settings
    ) -> None:
        job = await training(client, wv, settings)
        await do(client, job, "pause")
        set_mode(settings, "succeed")
        other = await create_job(client)
        await validate_fine_tuning_job(wv, other["id"], QUICK)

        async def trained() -> bool:
            await resume_fine_tuning_jobs(wv, pauses=QUICK)  # the worker's round
            return (await job_of(client, other["id"]))["status"] == "succeeded"

        await until(trained)
        assert (await job_of(client, job["id"]))["status"] == "paused"

    async def test_resumed_at_once_is_not_trained_twice_at_the_same_time(
        self, client: Client, wv: WorkerServices, settings: Settings
    ) -> None:
        """Its trainer has not stopped yet: nobody else may have the directory, however free he is."""
        job = await training(client, wv, settings, mode="deaf")
        await do(client, job, "pause")
        await do(client, job, "resume")
        async with worker_services(settings) as second:
            await train_fine_tuning_jobs(second, QUICK)
        assert len(starts_of(settings, job["id"])) == 1
        set_mode(settings, "succeed")

        async def succeeded() -> bool:
            await train_fine_tuning_jobs(wv, QUICK)
            return (await job_of(client, job["id"]))["status"] == "succeeded"

        await until(succeeded)
        first, second = starts_of(settings, job["id"])
        assert gone(first["pid"])
        assert second["pid"] != first["pid"]

    async def test_worker_is_killed_while_the_job_is_paused(
        self, client: Client, wv: WorkerServices, settings: Settings
    ) -> None:
        """Its lease runs out on its own; the job stays paused, and then goes on with another worker."""
        job = await training(client, wv, settings)
        await do(client, job, "pause")
        await idle(wv)
        async with wv.database.session() as session:
            dead = "UPDATE fine_tuning_jobs SET lease_holder = 'dead', leased_until = now() + interval '0.5 seconds'"
            await session.execute(text(dead))
        await resume_fine_tuning_jobs(wv, lost_after=0, pauses=QUICK)
        assert (await job_of(client, job["id"]))["status"] == "paused"
        await do(client, job, "resume")
        go_on(settings, job["id"])

        async def succeeded() -> bool:
            await train_fine_tuning_jobs(wv, QUICK)
            return (await job_of(client, job["id"]))["status"] == "succeeded"

        await until(succeeded)

    async def test_cancelled_while_paused(self, client: Client, wv: WorkerServices, settings: Settings) -> None:
        job = await training(client, wv, settings)
        await do(client, job, "pause")
        await idle(wv)
        assert (await do(client, job, "cancel"))["status"] == "cancelled"
        await train_fine_tuning_jobs(wv, QUICK)
        assert len(starts_of(settings, job["id"])) == 1


class TestBeforeItRuns:
    async def test_while_queued(self, client: Client, wv: WorkerServices, settings: Settings) -> None:
        await wv.training.acquire()
        job = await create_job(client)
        await validate_fine_tuning_job(wv, job["id"], QUICK)
        await do(client, job, "pause")
        wv.training.release()
        await train_fine_tuning_jobs(wv, QUICK)
        assert starts_of(settings, job["id"]) == []
        await do(client, job, "resume")
        await train_fine_tuning_jobs(wv, QUICK)
        assert (await job_of(client, job["id"]))["status"] == "succeeded"

    async def test_before_its_validation_which_then_comes_first(
        self, client: Client, wv: WorkerServices, settings: Settings
    ) -> None:
        job = await create_job(client)
        await do(client, job, "pause")
        await validate_fine_tuning_job(wv, job["id"], QUICK)
        assert (await job_of(client, job["id"]))["status"] == "paused"
        assert (await do(client, job, "resume"))["status"] == "queued"
        await train_fine_tuning_jobs(wv, QUICK)
        assert starts_of(settings, job["id"]) == []
        await resume_fine_tuning_jobs(wv, lost_after=3600, pauses=QUICK)
        assert (await wait(client, job["id"]))["status"] == "succeeded"
        told = await messages_of(client, job["id"])
        assert told.index("Fine-tuning job resumed") < told.index("Files validated, moving job to queued state")

    async def test_during_its_validation(
        self, client: Client, wv: WorkerServices, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = await create_job(client)
        check = validation._check_files

        async def paused_meanwhile(*arguments: Any) -> Any:
            await do(client, job, "pause")
            if resumed:
                await do(client, job, "resume")
            return await check(*arguments)

        monkeypatch.setattr(validation, "_check_files", paused_meanwhile)
        resumed = False
        await validate_fine_tuning_job(wv, job["id"], QUICK)
        assert (await job_of(client, job["id"]))["status"] == "paused"
        resumed = True
        await do(client, job, "resume")
        await validate_fine_tuning_job(wv, job["id"], QUICK)
        assert (await job_of(client, job["id"]))["status"] == "queued"
        async with wv.database.session() as session:
            assert await claims.unvalidated(session, 3600) == [job["id"]]
        monkeypatch.setattr(validation, "_check_files", check)
        await validate_fine_tuning_job(wv, job["id"], QUICK)
        assert (await wait(client, job["id"]))["status"] == "succeeded"

    @pytest.mark.parametrize("resumed", [False, True])
    async def test_between_claim_and_start(
        self, client: Client, wv: WorkerServices, settings: Settings, monkeypatch: pytest.MonkeyPatch, resumed: bool
    ) -> None:
        job = await create_job(client)
        begin = task.begin_training

        async def paused_meanwhile(*arguments: Any) -> Any:
            monkeypatch.setattr(task, "begin_training", begin)
            await do(client, job, "pause")
            if resumed:
                await do(client, job, "resume")
            return await begin(*arguments)

        monkeypatch.setattr(task, "begin_training", paused_meanwhile)
        await validate_fine_tuning_job(wv, job["id"], QUICK)
        if resumed:
            assert (await wait(client, job["id"]))["status"] == "succeeded"
        else:
            await wait(client, job["id"], "paused")
            await idle(wv)
            assert starts_of(settings, job["id"]) == []


class TestWhilePublishing:
    async def test_is_published_once_when_it_goes_on(
        self, client: Client, wv: WorkerServices, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = await create_job(client)
        record = publish_models._record

        async def paused_meanwhile(*arguments: Any) -> bool:
            monkeypatch.setattr(publish_models, "_record", record)
            await do(client, job, "pause")
            return await record(*arguments)

        monkeypatch.setattr(publish_models, "_record", paused_meanwhile)
        await validate_fine_tuning_job(wv, job["id"], QUICK)
        await wait(client, job["id"], "paused")
        await idle(wv)
        assert (await job_of(client, job["id"]))["fine_tuned_model"] is None
        await do(client, job, "resume")
        await train_fine_tuning_jobs(wv, QUICK)
        done = await job_of(client, job["id"])
        assert done["status"] == "succeeded"
        assert len(done["result_files"]) == 1
        assert len(starts_of(settings, job["id"])) == 1
        told = await messages_of(client, job["id"])
        assert len(told) == len(set(told))


class TestTogether:
    async def test_many_at_once_end_in_one_state(self, client: Client, wv: WorkerServices, settings: Settings) -> None:
        job = await training(client, wv, settings)
        verbs = ["pause", "resume", "pause", "resume", "pause", "resume"] * 3
        await asyncio.gather(*(client.post(f"/v1/fine_tuning/jobs/{job['id']}/{verb}") for verb in verbs))
        told = [message for message in await messages_of(client, job["id"]) if message.startswith("Fine-tuning job ")]
        changes = [message for message in told if "started" not in message]
        assert changes == ["Fine-tuning job paused", "Fine-tuning job resumed"] * (len(changes) // 2) + [
            "Fine-tuning job paused"
        ] * (len(changes) % 2)
        go_on(settings, job["id"])
        if (await job_of(client, job["id"]))["status"] == "paused":
            await do(client, job, "resume")

        async def succeeded() -> bool:
            await train_fine_tuning_jobs(wv, QUICK)
            return (await job_of(client, job["id"]))["status"] == "succeeded"

        await until(succeeded)
