"""The life of a job with a fake trainer and a fake engine; everything between them is real."""

import asyncio
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import select, text, update

from gateway.app import App
from gateway.db.tables import FineTuningJobRow, ModelRow
from gateway.services import WorkerServices, worker_services
from gateway.settings import Settings
from gateway.tasks import publish_models
from gateway.tasks import train_fine_tuning_jobs as task
from gateway.tasks.pauses import Pauses
from gateway.tasks.reconcile_adapters import reconcile_adapters
from gateway.tasks.remove_model_files import remove_model_files
from gateway.tasks.train_fine_tuning_jobs import train_fine_tuning_jobs
from gateway.tasks.validate_fine_tuning_job import validate_fine_tuning_job
from tests.fakes.engine import FakeEngine
from tests.fakes.fine_tuning import (
    QUICK,
    create_job,
    ended,
    finals,
    gone,
    idle,
    job_of,
    messages_of,
    prepare,
    set_mode,
    starts_of,
    training,
    until,
    wait,
)

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient


class TestSuccess:
    async def test_job_names_its_model_and_the_numbers_that_were_chosen(
        self, client: Client, wv: WorkerServices
    ) -> None:
        job = await ended(client, wv, suffix="Shop one!", seed=7)
        assert job["status"] == "succeeded"
        assert job["fine_tuned_model"] == f"ft:base:tuneway:Shop-one:{job['id'][-8:]}"
        assert job["user_provided_suffix"] == "Shop one!"
        assert job["hyperparameters"] == {"n_epochs": 3, "batch_size": 4, "learning_rate_multiplier": 1.5}
        assert job["method"]["supervised"]["hyperparameters"] == job["hyperparameters"]
        assert job["trained_tokens"] == 300
        assert job["finished_at"] >= job["created_at"]
        assert job["error"] is None
        assert job["estimated_finish"] is None

    async def test_events_come_in_openais_words_and_order(self, client: Client, wv: WorkerServices) -> None:
        job = await ended(client, wv)
        messages = await messages_of(client, job["id"])
        ours = ("Training file: ", "No validation file ")  # what OpenAI's do not tell
        assert [message for message in messages if not message.startswith(ours)] == [
            f"Created fine-tuning job: {job['id']}",
            f"Validating training file: {job['training_file']}",
            "Files validated, moving job to queued state",
            "Fine-tuning job started",
            "Step 1/3: training loss=1.00",
            "Checkpoint created at step 1",
            "Step 2/3: training loss=0.50",
            "Checkpoint created at step 2",
            "Step 3/3: training loss=0.33",
            "Checkpoint created at step 3",
            f"New fine-tuned model created: {job['fine_tuned_model']}",
            "The job has successfully completed",
        ]

    async def test_events_are_listed_newest_first_and_page_by_page(self, client: Client, wv: WorkerServices) -> None:
        job = await ended(client, wv)
        url = f"/v1/fine_tuning/jobs/{job['id']}/events"
        pages: list[dict[str, Any]] = []
        after: dict[str, str] = {}
        while True:
            page = (await client.get(url, params={"limit": 5, **after})).json()
            pages.append(page)
            if not page["has_more"]:
                break
            after = {"after": page["data"][-1]["id"]}
        assert len(pages) >= 3
        assert {len(page["data"]) for page in pages[:-1]} == {5}
        told = [event["message"] for page in pages for event in page["data"]]
        assert told == (await messages_of(client, job["id"]))[::-1]

    async def test_metrics_events_carry_numbers(self, client: Client, wv: WorkerServices) -> None:
        job = await ended(client, wv)
        events = (await client.get(f"/v1/fine_tuning/jobs/{job['id']}/events?limit=100")).json()["data"]
        metrics = [event for event in events if event["type"] == "metrics"]
        assert [event["data"]["step"] for event in metrics] == [3, 2, 1]
        assert metrics[1]["data"] == {
            "step": 2,
            "total_steps": 3,
            "train_loss": 0.5,
            "train_mean_token_accuracy": 0.5,
            "learning_rate": 1e-3,
            "tokens_per_second": 10.0,
            "seconds_left": 60.0,
        }

    async def test_all_steps_at_once_for_curves_and_the_last_one_on_the_job(
        self, client: Client, wv: WorkerServices
    ) -> None:
        job = await ended(client, wv)
        told = (await client.get(f"/v1/fine_tuning/jobs/{job['id']}/metrics")).json()["data"]
        assert [each["step"] for each in told] == [1, 2, 3]
        assert [each["train_loss"] for each in told] == pytest.approx([1, 1 / 2, 1 / 3])
        last = {name: value for name, value in told[-1].items() if name != "created_at"}
        assert (await client.get(f"/v1/fine_tuning/jobs/{job['id']}")).json()["last_step"] == last
        listed = (await client.get("/v1/fine_tuning/jobs")).json()["data"]
        assert [each["last_step"]["step"] for each in listed if each["id"] == job["id"]] == [3]

    async def test_checkpoints_are_listed_newest_first(self, client: Client, wv: WorkerServices) -> None:
        job = await ended(client, wv)
        page = (await client.get(f"/v1/fine_tuning/jobs/{job['id']}/checkpoints?limit=2")).json()
        assert [each["step_number"] for each in page["data"]] == [3, 2]
        assert page["has_more"] is True
        assert page["last_id"] == page["data"][-1]["id"]
        assert page["data"][0]["fine_tuned_model_checkpoint"] == f"{job['fine_tuned_model']}:ckpt-step-3"

    async def test_model_is_loaded_and_seen_by_its_project_only(
        self, app: App, client: Client, stranger: Client, wv: WorkerServices, engine: FakeEngine, settings: Settings
    ) -> None:
        job = await ended(client, wv)
        name = job["fine_tuned_model"]
        assert finals(engine) == {name: str(settings.data_dir / "adapters" / job["id"])}
        await app.services.mirrors.refresh()
        assert name in [model["id"] for model in (await client.get("/v1/models")).json()["data"]]
        assert name not in [model["id"] for model in (await stranger.get("/v1/models")).json()["data"]]
        assert (await client.get(f"/v1/models/{name}")).json()["id"] == name
        assert (await stranger.get(f"/v1/models/{name}")).status_code == 404

    async def test_every_waiting_job_is_trained_oldest_first(
        self, client: Client, wv: WorkerServices, settings: Settings
    ) -> None:
        jobs = [await create_job(client) for _ in range(3)]
        async with wv.database.session() as session:
            await session.execute(update(FineTuningJobRow).values(status="queued"))
        for job in jobs:
            prepare(settings, job["id"])
        await train_fine_tuning_jobs(wv, QUICK)
        done = [await job_of(client, job["id"]) for job in jobs]
        assert [job["status"] for job in done] == ["succeeded"] * 3
        async with wv.database.session() as session:
            made = select(ModelRow).where(ModelRow.step.is_(None))
            rows = await session.scalars(made.order_by(ModelRow.created_at))
            assert [row.job_id for row in rows] == [job["id"] for job in jobs]

    async def test_continuing_from_a_tuned_model_starts_from_its_adapter(
        self, app: App, client: Client, wv: WorkerServices, settings: Settings
    ) -> None:
        first = await ended(client, wv)
        await app.services.mirrors.refresh()
        second = await ended(client, wv, model=first["fine_tuned_model"])
        assert second["status"] == "succeeded"
        assert second["fine_tuned_model"] == f"ft:base:tuneway::{second['id'][-8:]}"
        (spec,) = starts_of(settings, second["id"])
        assert spec["continue_from"] == str(settings.data_dir / "adapters" / first["id"])
        assert starts_of(settings, first["id"])[0]["continue_from"] is None

    async def test_model_to_continue_from_that_is_gone_fails_the_job(
        self, app: App, client: Client, wv: WorkerServices, settings: Settings
    ) -> None:
        first = await ended(client, wv)
        await app.services.mirrors.refresh()
        second = await create_job(client, model=first["fine_tuned_model"])
        async with wv.database.session() as session:
            await session.execute(text("UPDATE models SET deleted_at = now()"))
        await validate_fine_tuning_job(wv, second["id"], QUICK)
        job = await wait(client, second["id"])
        assert job["status"] == "failed"
        assert job["error"]["code"] == "model_not_found"
        assert starts_of(settings, second["id"]) == []


class TestTrainerFails:
    async def test_its_reason_is_the_jobs_and_told_once(
        self, client: Client, wv: WorkerServices, settings: Settings
    ) -> None:
        set_mode(settings, "fail")
        job = await ended(client, wv)
        reason = "Line 3 holds\ufffd nothing to learn from."
        assert job["status"] == "failed"
        assert job["error"] == {"code": "invalid_training_file", "message": reason, "param": "training_file"}
        assert (await messages_of(client, job["id"])).count(reason) == 1

    @pytest.mark.parametrize("mode", ["crash", "torn", "broken"])
    async def test_end_without_a_result_fails_the_job(
        self, client: Client, wv: WorkerServices, settings: Settings, mode: str
    ) -> None:
        set_mode(settings, mode)
        job = await ended(client, wv)
        assert job["status"] == "failed"
        assert job["error"]["code"] == "server_error"
        assert "status " in job["error"]["message"]
        assert "create the job again" in job["error"]["message"]

    async def test_command_that_does_not_exist_fails_the_job(self, client: Client, settings: Settings) -> None:
        fine_tuning = msgspec.structs.replace(settings.fine_tuning, command=("/no/such/trainer",))
        async with worker_services(msgspec.structs.replace(settings, fine_tuning=fine_tuning)) as wv:
            job = await ended(client, wv)
        assert job["error"]["code"] == "server_error"

    async def test_terminated_by_the_system_is_no_failure(
        self, client: Client, wv: WorkerServices, settings: Settings
    ) -> None:
        """As when the machine shuts down: every process gets SIGTERM, perhaps before the trainer listens."""
        set_mode(settings, "terminated")
        job = await create_job(client)
        await validate_fine_tuning_job(wv, job["id"], QUICK)
        await until(lambda: len(starts_of(settings, job["id"])) >= 1)
        set_mode(settings, "succeed")
        assert (await wait(client, job["id"]))["status"] == "succeeded"


class TestCancel:
    async def test_before_validation(self, client: Client, wv: WorkerServices) -> None:
        job = await create_job(client)
        await client.post(f"/v1/fine_tuning/jobs/{job['id']}/cancel")
        await validate_fine_tuning_job(wv, job["id"], QUICK)
        assert (await job_of(client, job["id"]))["status"] == "cancelled"
        assert (await messages_of(client, job["id"]))[-1] == "Fine-tuning job cancelled"

    async def test_while_queued(self, client: Client, wv: WorkerServices, settings: Settings) -> None:
        await wv.training.acquire()
        job = await create_job(client)
        await validate_fine_tuning_job(wv, job["id"], QUICK)
        assert (await job_of(client, job["id"]))["status"] == "queued"
        await client.post(f"/v1/fine_tuning/jobs/{job['id']}/cancel")
        wv.training.release()
        await train_fine_tuning_jobs(wv, QUICK)
        assert starts_of(settings, job["id"]) == []

    async def test_between_claim_and_start(
        self, client: Client, wv: WorkerServices, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = await create_job(client)
        begin = task.begin_training

        async def cancelled_meanwhile(*arguments: Any) -> Any:
            begun = await begin(*arguments)
            await client.post(f"/v1/fine_tuning/jobs/{job['id']}/cancel")
            await asyncio.sleep(0.2)
            return begun

        monkeypatch.setattr(task, "begin_training", cancelled_meanwhile)
        await validate_fine_tuning_job(wv, job["id"], QUICK)
        await wait(client, job["id"])
        await train_fine_tuning_jobs(wv, QUICK)
        await idle(wv)
        assert starts_of(settings, job["id"]) == []
        assert (await job_of(client, job["id"]))["status"] == "cancelled"

    async def test_while_running_stops_the_trainer_and_tells_nothing_more(
        self, client: Client, wv: WorkerServices, settings: Settings, engine: FakeEngine
    ) -> None:
        job = await training(client, wv, settings)
        answer = (await client.post(f"/v1/fine_tuning/jobs/{job['id']}/cancel")).json()
        assert answer["status"] == "cancelled"
        assert answer["finished_at"] is not None
        (start,) = starts_of(settings, job["id"])
        await until(lambda: gone(start["pid"]))
        await idle(wv)
        assert (await messages_of(client, job["id"]))[-1] == "Fine-tuning job cancelled"
        assert (await job_of(client, job["id"]))["status"] == "cancelled"
        assert finals(engine) == {}

    async def test_kills_a_trainer_that_does_not_listen(
        self, client: Client, wv: WorkerServices, settings: Settings
    ) -> None:
        set_mode(settings, "deaf")
        job = await create_job(client)
        await validate_fine_tuning_job(wv, job["id"], Pauses(poll=0.02, stop=0.2))

        async def stepped() -> bool:
            return "Checkpoint created at step 1" in await messages_of(client, job["id"])

        await until(stepped)
        await client.post(f"/v1/fine_tuning/jobs/{job['id']}/cancel")
        (start,) = starts_of(settings, job["id"])
        await until(lambda: gone(start["pid"]))
        await idle(wv)
        assert (await job_of(client, job["id"]))["status"] == "cancelled"

    async def test_while_the_adapter_is_loaded_leaves_no_model(
        self,
        client: Client,
        wv: WorkerServices,
        settings: Settings,
        engine: FakeEngine,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        job = await create_job(client)
        record = publish_models._record

        async def cancelled_meanwhile(*arguments: Any) -> bool:
            assert len(finals(engine)) == 1
            await client.post(f"/v1/fine_tuning/jobs/{job['id']}/cancel")
            return await record(*arguments)

        monkeypatch.setattr(publish_models, "_record", cancelled_meanwhile)
        await validate_fine_tuning_job(wv, job["id"], QUICK)
        await until(lambda: engine.loads != [] and finals(engine) == {})
        await idle(wv)
        assert (await job_of(client, job["id"]))["status"] == "cancelled"
        assert (await job_of(client, job["id"]))["fine_tuned_model"] is None
        assert not (settings.data_dir / "adapters" / job["id"]).exists()


class TestEngine:
    async def test_that_does_not_take_the_adapter_fails_the_job(
        self, client: Client, wv: WorkerServices, settings: Settings, engine: FakeEngine
    ) -> None:
        engine.misfit.add("*")
        job = await ended(client, wv)
        assert job["status"] == "failed"
        assert job["error"]["code"] == "adapter_rejected"
        assert "rank 64 is greater than 16" in job["error"]["message"]
        assert job["fine_tuned_model"] is None
        await idle(wv)
        assert not (settings.data_dir / "adapters" / job["id"]).exists()
        async with wv.database.session() as session:
            assert list(await session.scalars(select(ModelRow).where(ModelRow.step.is_(None)))) == []

    async def test_that_cannot_load_at_run_time_fails_the_job_with_what_to_do(
        self, client: Client, wv: WorkerServices, engine: FakeEngine
    ) -> None:
        engine.no_updates = True
        job = await ended(client, wv)
        assert job["error"]["code"] == "adapter_rejected"
        assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING" in job["error"]["message"]

    async def test_that_comes_back_in_time_is_waited_for(
        self, client: Client, wv: WorkerServices, engine: FakeEngine
    ) -> None:
        engine.away = True
        job = await create_job(client)
        await validate_fine_tuning_job(wv, job["id"], Pauses(poll=0.02, load=0.05, load_tries=400))

        async def trained() -> bool:
            return "Checkpoint created at step 3" in await messages_of(client, job["id"])

        await until(trained)
        assert (await job_of(client, job["id"]))["status"] == "running"
        engine.away = False
        done = await wait(client, job["id"])
        assert done["status"] == "succeeded"
        assert list(finals(engine)) == [done["fine_tuned_model"]]

    async def test_that_stays_away_is_warned_of_and_the_adapter_loaded_later(
        self, client: Client, wv: WorkerServices, engine: FakeEngine
    ) -> None:
        engine.away = True
        job = await ended(client, wv)
        assert job["status"] == "succeeded"
        warning = "The engine is away; the model will answer as soon as it is back."
        assert warning in await messages_of(client, job["id"])
        engine.away = False
        await reconcile_adapters(wv)
        assert list(finals(engine)) == [job["fine_tuned_model"]]

    async def test_cancel_while_it_is_away_does_not_wait_for_it(
        self, client: Client, wv: WorkerServices, settings: Settings, engine: FakeEngine
    ) -> None:
        engine.away = True
        job = await create_job(client)
        await validate_fine_tuning_job(wv, job["id"], Pauses(poll=0.02, load=0.05, load_tries=10_000))
        await until(lambda: (settings.data_dir / "adapters" / job["id"]).exists())
        await client.post(f"/v1/fine_tuning/jobs/{job['id']}/cancel")
        await idle(wv)
        assert (settings.data_dir / "adapters" / job["id"]).exists()  # the engine may have it loaded
        engine.away = False
        await remove_model_files(wv, orphan_after=-1.0)
        assert not (settings.data_dir / "adapters" / job["id"]).exists()
