"""The result file and the measurements of a job."""

import dataclasses
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import func, select, update

from gateway.db.tables import FileRow, FineTuningJobRow, TrainingSpeedRow
from gateway.errors import Unavailable
from gateway.services import WorkerServices
from gateway.settings import Settings
from gateway.tasks import train_fine_tuning_jobs as task
from gateway.tasks.train_fine_tuning_jobs import train_fine_tuning_jobs
from gateway.tasks.validate_fine_tuning_job import validate_fine_tuning_job
from tests.contract import conforms
from tests.fakes.engine import BASE
from tests.fakes.fine_tuning import QUICK, create_job, ended, job_of, messages_of, prepare, set_mode, starts_of, until

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient
CSV = """step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy
1,1.0,0.5,,
2,0.5,0.5,,
3,0.3333333333333333,0.5,,
"""


class TestResultFile:
    async def test_is_a_file_of_its_own_purpose_with_a_line_a_step(
        self, client: Client, stranger: Client, wv: WorkerServices
    ) -> None:
        job = await ended(client, wv)
        (file_id,) = job["result_files"]
        file = (await client.get(f"/v1/files/{file_id}")).json()
        conforms("OpenAIFile", file)
        assert (file["purpose"], file["filename"], file["bytes"]) == ("fine-tune-results", "step_metrics.csv", len(CSV))
        assert (await client.get(f"/v1/files/{file_id}/content")).text == CSV
        listed = (await client.get("/v1/files?purpose=fine-tune-results")).json()["data"]
        assert [each["id"] for each in listed] == [file_id]
        assert (await stranger.get(f"/v1/files/{file_id}")).status_code == 404

    async def test_of_dpo_has_more_columns_at_the_end(
        self, client: Client, wv: WorkerServices, settings: Settings
    ) -> None:
        job = await create_job(client, method={"type": "dpo"})
        async with wv.database.session() as session:
            await session.execute(update(FineTuningJobRow).values(status="queued"))
        prepare(settings, job["id"])
        await train_fine_tuning_jobs(wv, QUICK)
        done = await job_of(client, job["id"])
        assert done["hyperparameters"]["beta"] == 0.1
        content = (await client.get(f"/v1/files/{done['result_files'][0]}/content")).text
        assert content.splitlines()[0].endswith(",full_valid_reward_accuracy,full_valid_reward_margin")

    async def test_is_one_if_the_worker_dies_after_it(
        self, client: Client, wv: WorkerServices, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        publish = task.publish_model
        tries: list[str] = []

        async def dies_at_first(*arguments: Any) -> None:
            tries.append("publish")
            if len(tries) == 1:
                raise Unavailable("the worker dies")
            await publish(*arguments)

        monkeypatch.setattr(task, "publish_model", dies_at_first)
        job = await create_job(client)
        await validate_fine_tuning_job(wv, job["id"], QUICK)
        await until(lambda: tries != [] and not wv.training.locked())
        assert (await job_of(client, job["id"]))["status"] == "running"
        await train_fine_tuning_jobs(wv, QUICK)
        done = await job_of(client, job["id"])
        assert (done["status"], len(starts_of(settings, job["id"]))) == ("succeeded", 1)
        async with wv.database.session() as session:
            query = select(func.count()).where(FileRow.purpose == "fine-tune-results")
            assert await session.scalar(query) == 1
        assert (await client.get(f"/v1/files/{done['result_files'][0]}/content")).text == CSV

    async def test_failed_job_has_none(self, client: Client, wv: WorkerServices, settings: Settings) -> None:
        set_mode(settings, "fail")
        job = await ended(client, wv)
        assert (job["result_files"], job["actual"]) == ([], None)

    async def test_storage_that_stays_away_costs_the_file_not_the_model(
        self, client: Client, wv: WorkerServices, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = await create_job(client)

        async def away(*_: object, **__: object) -> None:
            raise Unavailable("the storage is full")

        monkeypatch.setattr(wv.files, "put", away)
        await validate_fine_tuning_job(wv, job["id"], QUICK)

        async def done() -> bool:
            return (await job_of(client, job["id"]))["status"] == "succeeded"

        await until(done)
        assert (await job_of(client, job["id"]))["result_files"] == []
        assert any("has no result file" in message for message in await messages_of(client, job["id"]))

    async def test_clients_cannot_upload_one(self, client: Client) -> None:
        fields = {"purpose": "fine-tune-results"}
        answer = await client.post("/v1/files", files={"file": ("step_metrics.csv", b"step\n")}, data=fields)
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "purpose"


class TestMeasurements:
    async def test_are_the_jobs_actual(self, client: Client, wv: WorkerServices) -> None:
        job = await ended(client, wv)
        assert job["actual"] == {
            "seconds": 0.5,
            "tokens_per_second": 10.0,
            "peak_memory_bytes": 1000,
            "trained_tokens": 300,
            "steps": 3,
            "cost_usd": None,
        }

    async def test_cost_is_that_of_the_time(self, client: Client, wv: WorkerServices) -> None:
        fine_tuning = msgspec.structs.replace(wv.settings.fine_tuning, usd_per_hour=7200.0)
        settings = msgspec.structs.replace(wv.settings, fine_tuning=fine_tuning)
        job = await ended(client, dataclasses.replace(wv, settings=settings))
        assert job["actual"]["cost_usd"] == 1.0

    async def test_speed_of_this_machine_is_the_last_measured(self, client: Client, wv: WorkerServices) -> None:
        for _ in range(2):
            await ended(client, wv)
        async with wv.database.session() as session:
            (row,) = list(await session.scalars(select(TrainingSpeedRow)))
        assert (row.base_model, row.method, row.training_type, row.device) == (BASE, "supervised", "lora", "none")
        assert (row.tokens_per_second, row.peak_memory_bytes) == (10.0, 1000)
