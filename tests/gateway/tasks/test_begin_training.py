"""What a job needs on disk is gone: a clear failure, and nothing half published."""

import os
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from gateway.app import App
from gateway.db.tables import ModelRow
from gateway.errors import Unavailable
from gateway.fine_tuning.runner import Run
from gateway.kit.clock import now
from gateway.services import WorkerServices
from gateway.settings import Settings
from gateway.tasks import train_fine_tuning_jobs as task
from gateway.tasks.train_fine_tuning_jobs import train_fine_tuning_jobs
from gateway.tasks.validate_fine_tuning_job import validate_fine_tuning_job
from tests.fakes.fine_tuning import QUICK, create_job, ended, job_of, starts_of, training, until, wait
from tests.gateway.serving.test_shapes import write

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient


async def queued(
    client: Client, wv: WorkerServices, parent: dict[str, Any] | None = None, **fields: Any
) -> dict[str, Any]:
    """A validated job that waits for the device. `parent`: what the row of its model says by now."""
    await wv.training.acquire()
    job = await create_job(client, **fields)
    await validate_fine_tuning_job(wv, job["id"], QUICK)
    if parent:
        async with wv.database.session() as session:
            await session.execute(update(ModelRow).where(ModelRow.id == job["model"]).values(**parent))
    wv.training.release()
    return job


async def failed(client: Client, wv: WorkerServices, settings: Settings, job: dict[str, Any]) -> dict[str, Any]:
    await train_fine_tuning_jobs(wv, QUICK)
    job = await wait(client, job["id"])
    assert (job["status"], job["fine_tuned_model"], job["result_files"]) == ("failed", None, [])
    assert not (settings.data_dir / "adapters" / job["id"]).exists()
    return job["error"]


class TestGone:
    async def test_base_model(self, client: Client, wv: WorkerServices, settings: Settings) -> None:
        job = await queued(client, wv)
        shutil.rmtree(settings.engine.model_path)
        error = await failed(client, wv, settings, job)
        assert (error["code"], error["param"]) == ("model_not_found", "model")
        assert "The weights of the base model base are not on the server's disk any more" in error["message"]
        assert starts_of(settings, job["id"]) == []

    async def test_adapter_to_continue_from(
        self, app: App, client: Client, wv: WorkerServices, settings: Settings
    ) -> None:
        first = await ended(client, wv)
        await app.services.mirrors.refresh()
        job = await queued(client, wv, model=first["fine_tuned_model"])
        shutil.rmtree(settings.data_dir / "adapters" / first["id"])
        error = await failed(client, wv, settings, job)
        assert (error["code"], error["param"]) == ("model_not_found", "model")
        assert first["fine_tuned_model"] in error["message"]
        assert starts_of(settings, job["id"]) == []

    async def test_model_to_continue_from_after_the_training_costs_nothing(
        self, app: App, client: Client, wv: WorkerServices, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def dies(*_: Any) -> None:
            raise Unavailable("the worker dies")

        first = await ended(client, wv)
        await app.services.mirrors.refresh()
        job = await queued(client, wv, model=first["fine_tuned_model"])
        with monkeypatch.context() as patched:
            patched.setattr(task, "publish_model", dies)
            await train_fine_tuning_jobs(wv, QUICK)
        async with wv.database.session() as session:
            await session.execute(
                update(ModelRow).where(ModelRow.id == first["fine_tuned_model"]).values(deleted_at=now())
            )
        await train_fine_tuning_jobs(wv, QUICK)
        done = await job_of(client, job["id"])
        assert (done["status"], done["error"], len(starts_of(settings, job["id"]))) == ("succeeded", None, 1)

    async def test_job_directory(self, client: Client, wv: WorkerServices, settings: Settings) -> None:
        job = await queued(client, wv)
        shutil.rmtree(settings.data_dir / "jobs" / job["id"])
        error = await failed(client, wv, settings, job)
        assert "working directory is gone from the server's disk; create the job again" in error["message"]

    async def test_job_directory_while_it_is_trained(
        self, client: Client, wv: WorkerServices, settings: Settings
    ) -> None:
        job = await training(client, wv, settings)
        (start,) = starts_of(settings, job["id"])
        shutil.rmtree(settings.data_dir / "jobs" / job["id"])

        os.kill(start["pid"], 9)
        done = await wait(client, job["id"])
        assert "working directory is gone" in done["error"]["message"]


class TestAnotherBase:
    """The operator has changed `[engine] model` since: the adapter's numbers mean nothing on other weights."""

    async def test_of_the_adapter_to_continue_from(
        self, app: App, client: Client, wv: WorkerServices, settings: Settings
    ) -> None:
        first = await ended(client, wv)
        await app.services.mirrors.refresh()
        job = await queued(client, wv, {"base_model": "former"}, model=first["fine_tuned_model"])
        error = await failed(client, wv, settings, job)
        assert (error["code"], error["param"]) == ("model_not_available", "model")
        assert "`former`" in error["message"]
        assert f"`{settings.engine.model}`" in error["message"]
        assert starts_of(settings, job["id"]) == []

    async def test_of_the_same_name_is_found_out_by_its_shapes(
        self, app: App, client: Client, wv: WorkerServices, settings: Settings
    ) -> None:
        first = await ended(client, wv)
        await app.services.mirrors.refresh()
        job = await queued(client, wv, model=first["fine_tuned_model"])
        write(Path(settings.engine.model_path) / "model.safetensors", **{"model.q.weight": [64, 64]})
        adapter = settings.data_dir / "adapters" / first["id"] / "adapter_model.safetensors"
        write(adapter, **{"base_model.model.model.q.lora_A.weight": [8, 48]})
        error = await failed(client, wv, settings, job)
        assert (error["code"], error["param"]) == ("model_not_available", "model")
        assert "[8, 48]" in error["message"]
        assert starts_of(settings, job["id"]) == []

    async def test_is_nothing_to_weights_of_their_own(
        self, app: App, client: Client, wv: WorkerServices, settings: Settings
    ) -> None:
        first = await ended(client, wv)
        await app.services.mirrors.refresh()
        job = await queued(client, wv, {"base_model": "former", "kind": "full"}, model=first["fine_tuned_model"])
        await train_fine_tuning_jobs(wv, QUICK)
        assert (await wait(client, job["id"]))["status"] == "succeeded"


class TestDiskFull:
    async def test_is_said(
        self, client: Client, wv: WorkerServices, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        job = await queued(client, wv)
        monkeypatch.setattr(Run, "start", full)
        error = await failed(client, wv, settings, job)
        assert error["message"] == "The server's disk is full. Create the job again once there is space."

    @pytest.mark.parametrize("where", ["record_results", "publish_model"])
    async def test_while_it_is_published(
        self, client: Client, wv: WorkerServices, settings: Settings, monkeypatch: pytest.MonkeyPatch, where: str
    ) -> None:
        async def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(task, where, full)
        job = await create_job(client)
        await validate_fine_tuning_job(wv, job["id"], QUICK)
        done = await wait(client, job["id"])
        await until(lambda: not wv.training.locked())
        assert "disk is full" in done["error"]["message"]
        assert done["fine_tuned_model"] is None
