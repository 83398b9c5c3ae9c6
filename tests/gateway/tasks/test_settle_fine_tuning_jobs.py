"""What stays on disk behind a job that has ended, and the checkpoints that a cancelled one leaves."""

from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import text

from gateway.app import App
from gateway.errors import Unavailable
from gateway.services import WorkerServices, worker_services
from gateway.settings import Settings
from gateway.tasks import settle_fine_tuning_jobs as task
from gateway.tasks import train_fine_tuning_jobs as training_task
from gateway.tasks.settle_fine_tuning_jobs import settle_fine_tuning_jobs
from gateway.tasks.train_fine_tuning_jobs import train_fine_tuning_jobs
from tests.fakes.fine_tuning import (
    create_job,
    ended,
    gone,
    idle,
    job_of,
    messages_of,
    set_mode,
    starts_of,
    training,
    until,
)

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient
KEPT = {"events.jsonl", "result.json", "spec.json", "starts.jsonl", "trainer.log"}
COPIES = {"training.jsonl", "checkpoints"}


def files_of(settings: Settings, job: dict[str, Any]) -> set[str]:
    return {path.name for path in (settings.data_dir / "jobs" / job["id"]).iterdir()}


async def cancel(client: Client, job: dict[str, Any]) -> None:
    assert (await client.post(f"/v1/fine_tuning/jobs/{job['id']}/cancel")).status_code == 200


async def callable_checkpoints(app: App, client: Client, job: dict[str, Any]) -> list[str]:
    await app.services.mirrors.refresh()
    models = (await client.get("/v1/models")).json()["data"]
    return sorted(model["id"] for model in models if f"{job['id'][-8:]}:ckpt-step-" in model["id"])


class TestSucceeded:
    async def test_keeps_what_tells_of_it(self, client: Client, wv: WorkerServices, settings: Settings) -> None:
        job = await ended(client, wv)
        await idle(wv)
        assert files_of(settings, job) == KEPT
        assert (settings.data_dir / "adapters" / job["id"] / "adapter_model.safetensors").exists()

    async def test_wandb_run_stays_to_be_synced(self, client: Client, wv: WorkerServices, settings: Settings) -> None:
        job = await ended(client, wv)
        await idle(wv)
        directory = settings.data_dir / "jobs" / job["id"]
        (directory / "wandb").mkdir()
        (directory / "validation.incomplete").touch()
        await settle_fine_tuning_jobs(wv, quiet_seconds=-60)
        assert files_of(settings, job) == KEPT | {"wandb"}

    async def test_worker_that_died_before_is_made_up_for(
        self, client: Client, wv: WorkerServices, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settle = training_task.settle

        async def dies(*_: object) -> None:
            raise Unavailable("as good as dead")

        monkeypatch.setattr(training_task, "settle", dies)
        job = await ended(client, wv)
        await idle(wv)
        assert files_of(settings, job) == KEPT | COPIES | {"adapter"}
        monkeypatch.setattr(training_task, "settle", settle)
        await settle_fine_tuning_jobs(wv, quiet_seconds=60)
        assert files_of(settings, job) == KEPT | COPIES | {"adapter"}
        await settle_fine_tuning_jobs(wv, quiet_seconds=-60)
        assert files_of(settings, job) == KEPT


class TestFailed:
    async def test_keeps_everything_for_a_while(self, client: Client, wv: WorkerServices, settings: Settings) -> None:
        set_mode(settings, "crash")
        job = await ended(client, wv)
        await idle(wv)
        await settle_fine_tuning_jobs(wv, quiet_seconds=-60)
        assert files_of(settings, job) >= COPIES
        async with wv.database.session() as session:
            await session.execute(text("UPDATE fine_tuning_jobs SET finished_at = now() - interval '25 hours'"))
        await settle_fine_tuning_jobs(wv)
        assert files_of(settings, job) == KEPT - {"result.json"}

    async def test_as_the_settings_say(self, client: Client, settings: Settings) -> None:
        fine_tuning = msgspec.structs.replace(settings.fine_tuning, keep_failed_seconds=-60.0)
        set_mode(settings, "crash")
        async with worker_services(msgspec.structs.replace(settings, fine_tuning=fine_tuning)) as wv:
            job = await ended(client, wv)
            await idle(wv)
        assert files_of(settings, job) == KEPT - {"result.json"}


class TestCancelled:
    async def test_leaves_a_checkpoint_of_the_step_that_it_came_to(
        self, app: App, client: Client, wv: WorkerServices, settings: Settings
    ) -> None:
        job = await training(client, wv, settings, mode="saves")
        await cancel(client, job)
        await idle(wv)
        assert (await messages_of(client, job["id"]))[-3:] == [
            "Fine-tuning job cancelled",
            "Step 2/3: training loss=0.50",
            "Checkpoint created at step 2",
        ]
        page = (await client.get(f"/v1/fine_tuning/jobs/{job['id']}/checkpoints")).json()
        assert [each["step_number"] for each in page["data"]] == [2, 1]
        assert await callable_checkpoints(app, client, job) == sorted(
            each["fine_tuned_model_checkpoint"] for each in page["data"]
        )
        assert files_of(settings, job) == KEPT - {"result.json"}
        assert (await job_of(client, job["id"]))["fine_tuned_model"] is None

    async def test_worker_that_died_while_its_trainer_stopped_is_made_up_for(
        self, app: App, client: Client, wv: WorkerServices, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def dies(*_: object) -> None:
            raise Unavailable("as good as dead")

        job = await training(client, wv, settings, mode="saves")
        monkeypatch.setattr(training_task, "settle", dies)
        monkeypatch.setattr(training_task, "store_events", dies)
        await cancel(client, job)
        (start,) = starts_of(settings, job["id"])
        await until(lambda: gone(start["pid"]))
        await idle(wv)
        assert len(await callable_checkpoints(app, client, job)) == 1
        await settle_fine_tuning_jobs(wv, quiet_seconds=-60)
        assert len(await callable_checkpoints(app, client, job)) == 2
        assert (await messages_of(client, job["id"]))[-1] == "Checkpoint created at step 2"
        assert files_of(settings, job) == KEPT - {"result.json"}

    async def test_nothing_is_removed_before_its_checkpoint_is_safe(
        self, app: App, client: Client, wv: WorkerServices, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = task.store_last_events

        async def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(task, "store_last_events", full)
        job = await training(client, wv, settings, mode="saves")
        await cancel(client, job)
        await idle(wv)
        assert files_of(settings, job) >= COPIES
        monkeypatch.setattr(task, "store_last_events", store)
        await settle_fine_tuning_jobs(wv, quiet_seconds=-60)
        assert files_of(settings, job) == KEPT - {"result.json"}

    async def test_before_it_was_trained(self, client: Client, wv: WorkerServices, settings: Settings) -> None:
        job = await create_job(client)
        (settings.data_dir / "jobs" / job["id"]).mkdir(parents=True)
        (settings.data_dir / "jobs" / job["id"] / "training.jsonl").touch()
        await cancel(client, job)
        await settle_fine_tuning_jobs(wv, quiet_seconds=-60)
        assert files_of(settings, job) == set()


class TestNotEnded:
    @pytest.mark.parametrize("verb", ["pause", None])
    async def test_keeps_everything(
        self, client: Client, wv: WorkerServices, settings: Settings, verb: str | None
    ) -> None:
        job = await training(client, wv, settings)
        if verb:
            await client.post(f"/v1/fine_tuning/jobs/{job['id']}/{verb}")
            await idle(wv)
        await settle_fine_tuning_jobs(wv, quiet_seconds=-60)
        assert files_of(settings, job) >= COPIES
        await cancel(client, job)
        await train_fine_tuning_jobs(wv)

    async def test_job_that_its_worker_still_has_is_left_to_it(
        self, client: Client, wv: WorkerServices, settings: Settings
    ) -> None:
        job = await ended(client, wv)
        await idle(wv)
        (settings.data_dir / "jobs" / job["id"] / "training.jsonl").touch()
        async with wv.database.session() as session:
            held = "UPDATE fine_tuning_jobs SET lease_holder = 'other', leased_until = now() + interval '1 hour'"
            await session.execute(text(held))
        await settle_fine_tuning_jobs(wv, quiet_seconds=-60)
        assert "training.jsonl" in files_of(settings, job)
