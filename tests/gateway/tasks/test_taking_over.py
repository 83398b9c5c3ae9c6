"""A job whose worker dies, loses its lease, or cannot reach the database: another goes on, and nothing is told twice."""

import asyncio
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import select, text

from gateway.app import App
from gateway.db.tables import FineTuningEventRow, FineTuningJobRow, ProjectRow
from gateway.errors import Unavailable
from gateway.fine_tuning.lease import Lease
from gateway.fine_tuning.runner import Stopped
from gateway.services import WorkerServices, worker_services
from gateway.settings import Settings
from gateway.tasks import publish_models, training_events
from gateway.tasks import train_fine_tuning_jobs as task
from gateway.tasks.resume_fine_tuning_jobs import resume_fine_tuning_jobs
from gateway.tasks.train_fine_tuning_jobs import train_fine_tuning_jobs
from gateway.tasks.validate_fine_tuning_job import validate_fine_tuning_job
from tests.fakes.engine import FakeEngine
from tests.fakes.fine_tuning import (
    QUICK,
    create_job,
    finals,
    go_on,
    gone,
    idle,
    job_of,
    messages_of,
    prepare,
    starts_of,
    training,
    until,
    wait,
)
from trainer.contract import CheckpointSaved, Message, Metrics, StepMetrics

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient


class TestTakeover:
    async def test_stopped_worker_leaves_a_checkpoint_and_the_next_goes_on(
        self, client: Client, settings: Settings
    ) -> None:
        async with worker_services(settings) as first:
            job = await training(client, first, settings)
        assert (await job_of(client, job["id"]))["status"] == "running"
        async with worker_services(settings) as second:
            go_on(settings, job["id"])
            await train_fine_tuning_jobs(second, QUICK)
        assert (await job_of(client, job["id"]))["status"] == "succeeded"
        told = await messages_of(client, job["id"])
        assert len(told) == len(set(told))
        assert "Training goes on after step 1/3" in told
        assert len(starts_of(settings, job["id"])) == 2

    async def test_lease_of_a_dead_worker_runs_out(
        self, client: Client, wv: WorkerServices, settings: Settings
    ) -> None:
        job = await create_job(client)
        prepare(settings, job["id"])
        async with wv.database.session() as session:
            held = "UPDATE fine_tuning_jobs SET status = 'running', lease_holder = 'dead', leased_until = now() + :more"
            await session.execute(text(held.replace(":more", "interval '1 second'")))
        await train_fine_tuning_jobs(wv, QUICK)
        assert starts_of(settings, job["id"]) == []

        async def taken_up() -> bool:
            await train_fine_tuning_jobs(wv, QUICK)
            return starts_of(settings, job["id"]) != []

        await until(taken_up)
        assert (await wait(client, job["id"]))["status"] == "succeeded"

    async def test_worker_that_is_stopped_while_it_tidies_up_gives_the_job_back(
        self, client: Client, app: App, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settle, tidying_up = task.settle, asyncio.Event()

        async def slowly(*arguments: Any) -> None:
            tidying_up.set()
            await asyncio.sleep(0.2)
            await settle(*arguments)

        monkeypatch.setattr(task, "settle", slowly)
        async with worker_services(settings) as stopped:
            job = await create_job(client)
            await validate_fine_tuning_job(stopped, job["id"], QUICK)
            await asyncio.wait_for(tidying_up.wait(), 20)
        async with app.services.database.session() as session:
            row = await session.get(FineTuningJobRow, job["id"])
            assert row is not None
            assert (row.status, row.lease_holder) == ("succeeded", None)

    async def test_worker_that_lost_its_lease_stops_and_decides_nothing(
        self, client: Client, wv: WorkerServices, settings: Settings
    ) -> None:
        job = await training(client, wv, settings)
        async with wv.database.session() as session:
            await session.execute(
                text("UPDATE fine_tuning_jobs SET lease_holder = 'other', leased_until = now() + interval '1 hour'")
            )
        (start,) = starts_of(settings, job["id"])
        await until(lambda: gone(start["pid"]))
        await idle(wv)
        async with wv.database.session() as session:
            row = await session.get(FineTuningJobRow, job["id"])
            assert row is not None
            assert (row.status, row.lease_holder) == ("running", "other")

    async def test_lease_lost_while_publishing_leaves_the_model_to_the_other(
        self,
        client: Client,
        wv: WorkerServices,
        settings: Settings,
        engine: FakeEngine,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        record = publish_models._record

        async def taken_meanwhile(*arguments: Any) -> bool:
            async with wv.database.session() as session:
                await session.execute(
                    text("UPDATE fine_tuning_jobs SET lease_holder = 'other', leased_until = now() + interval '1 hour'")
                )
            return await record(*arguments)

        monkeypatch.setattr(publish_models, "_record", taken_meanwhile)
        job = await create_job(client)
        await validate_fine_tuning_job(wv, job["id"], QUICK)
        await until(lambda: engine.loads != [])
        await idle(wv)
        assert (await job_of(client, job["id"]))["status"] == "running"
        assert (settings.data_dir / "adapters" / job["id"]).exists()
        assert len(finals(engine)) == 1

    async def test_finished_training_is_published_without_training_again(
        self, client: Client, wv: WorkerServices, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The worker dies, or the database goes away, between the end of the training and the model."""
        publish = publish_models.publish
        attempts: list[str] = []

        def away_at_first(*arguments: Any) -> str:
            attempts.append("publish")
            if len(attempts) == 1:
                raise Unavailable("the database is away")
            return publish(*arguments)

        monkeypatch.setattr(publish_models, "publish", away_at_first)
        job = await create_job(client)
        await validate_fine_tuning_job(wv, job["id"], QUICK)
        await until(lambda: attempts != [] and not wv.training.locked())
        await train_fine_tuning_jobs(wv, QUICK)
        assert (await job_of(client, job["id"]))["status"] == "succeeded"
        assert len(starts_of(settings, job["id"])) == 1
        told = await messages_of(client, job["id"])
        assert len(told) == len(set(told))

    async def test_message_whose_sequence_was_given_anew_is_not_lost(self, client: Client, wv: WorkerServices) -> None:
        """A crash of the machine may lose the end of events.jsonl after it was stored."""
        job = await create_job(client)
        async with wv.database.session() as session:
            row = await session.get(FineTuningJobRow, job["id"])
            assert row is not None
            for at, told in ((1.5, "before the crash"), (1.5, "before the crash"), (9.5, "after it")):
                await training_events._store_one(
                    session, row, Message(sequence=4, created_at=at, level="info", message=told)
                )
        told = await messages_of(client, job["id"])
        assert told[1:] == ["before the crash", "after it"]

    async def test_of_a_job_that_was_cancelled_only_its_last_steps_are_told(
        self, client: Client, wv: WorkerServices
    ) -> None:
        job = await create_job(client)
        lease = Lease(wv.database, 60)
        assert await lease.take_validation(job["id"])
        async with wv.database.session() as session:
            row = await session.get(FineTuningJobRow, job["id"])
        assert row is not None
        await client.post(f"/v1/fine_tuning/jobs/{job['id']}/cancel")
        metrics = Metrics(step=3, train_loss=0.5)
        rates = {"total_steps": 9, "learning_rate": 1.0, "tokens_per_second": 1.0, "seconds_left": 60.0}
        events = [
            StepMetrics(sequence=1, created_at=1, metrics=metrics, **rates),  # type: ignore[arg-type]
            CheckpointSaved(sequence=2, created_at=1, path="checkpoints/step-3", step=3, epoch=1, metrics=metrics),
            Message(sequence=3, created_at=1, level="info", message="too late"),
        ]
        await training_events._store_now(wv, lease, row, events)
        told = await messages_of(client, job["id"])
        assert told[-2:] == ["Step 3/9: training loss=0.50", "Checkpoint created at step 3"]
        assert (await job_of(client, job["id"]))["estimated_finish"] is None

    async def test_worker_that_lost_its_lease_tells_nothing(self, client: Client, wv: WorkerServices) -> None:
        job = await create_job(client)
        lease = Lease(wv.database, 60)
        assert await lease.take_validation(job["id"])
        event = Message(sequence=1, created_at=1, level="info", message="too late")
        async with wv.database.session() as session:
            row = await session.get(FineTuningJobRow, job["id"])
            await session.execute(text("UPDATE fine_tuning_jobs SET lease_holder = 'other'"))
        assert row is not None
        with pytest.raises(Stopped):
            await training_events._store_now(wv, lease, row, [event])
        assert "too late" not in await messages_of(client, job["id"])

    async def test_step_told_again_shows_what_is_known_last(self, client: Client, wv: WorkerServices) -> None:
        job = await create_job(client)
        rates = {"total_steps": 9, "learning_rate": 1.0, "tokens_per_second": 1.0}
        async with wv.database.session() as session:
            row = await session.get(FineTuningJobRow, job["id"])
            assert row is not None
            for number, valid in enumerate((None, 0.25)):
                metrics = Metrics(step=3, train_loss=0.5, full_valid_loss=valid)
                event = StepMetrics(sequence=number, created_at=number, metrics=metrics, **rates)  # type: ignore[arg-type]
                await training_events._store_one(session, row, event)
            rows = list(await session.scalars(select(FineTuningEventRow).where(FineTuningEventRow.type == "metrics")))
        assert [row.message for row in rows] == ["Step 3/9: training loss=0.50, full validation loss=0.25"]
        assert rows[0].values == {"step": 3, "train_loss": 0.5, "full_valid_loss": 0.25, **rates}


class TestDatabaseAway:
    async def test_for_a_moment_does_not_disturb_the_training(
        self, client: Client, wv: WorkerServices, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = await training(client, wv, settings)
        away = True
        store = training_events._store_now

        async def sometimes(*arguments: Any) -> None:
            if away:
                raise Unavailable("the database is away")
            await store(*arguments)

        monkeypatch.setattr(training_events, "_store_now", sometimes)
        go_on(settings, job["id"])
        await until(lambda: (settings.data_dir / "jobs" / job["id"] / "result.json").exists())
        away = False
        done = await wait(client, job["id"])
        assert done["status"] == "succeeded"
        assert len(starts_of(settings, job["id"])) == 1
        assert "Step 3/3: training loss=0.33" in await messages_of(client, job["id"])

    async def test_for_longer_than_the_lease_the_job_is_given_up_and_resumed(
        self, client: Client, settings: Settings
    ) -> None:
        short = msgspec.structs.replace(
            settings, fine_tuning=msgspec.structs.replace(settings.fine_tuning, lease_seconds=0.6)
        )
        async with worker_services(short) as wv:
            job = await training(client, wv, settings)
            session = wv.database.session

            def away() -> Any:
                raise Unavailable("the database is away")

            object.__setattr__(wv.database, "session", away)
            (start,) = starts_of(settings, job["id"])
            await until(lambda: gone(start["pid"]))
            await idle(wv)
            object.__setattr__(wv.database, "session", session)
            go_on(settings, job["id"])

            async def resumed() -> bool:
                await resume_fine_tuning_jobs(wv, pauses=QUICK)
                return (await job_of(client, job["id"]))["status"] == "succeeded"

            await until(resumed)
        assert "Training goes on after step 1/3" in await messages_of(client, job["id"])


class TestProject:
    async def test_archived_before_the_training_fails_the_job(
        self, client: Client, wv: WorkerServices, settings: Settings
    ) -> None:
        await wv.training.acquire()
        job = await create_job(client)
        await validate_fine_tuning_job(wv, job["id"], QUICK)
        async with wv.database.session() as session:
            await session.execute(text("UPDATE projects SET archived_at = now()"))
        wv.training.release()
        await train_fine_tuning_jobs(wv, QUICK)
        async with wv.database.session() as session:
            row = await session.get(FineTuningJobRow, job["id"])
            assert row is not None
            assert (row.status, (row.error or {})["code"]) == ("failed", "project_archived")
            assert (await session.scalar(select(ProjectRow.archived_at).limit(1))) is not None
        assert starts_of(settings, job["id"]) == []
