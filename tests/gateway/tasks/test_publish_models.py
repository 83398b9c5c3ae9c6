"""Checkpoints become models, and weights of their own are kept whatever the engine says; adapters of whole jobs are in
test_train_fine_tuning_jobs.py."""

import asyncio
import json
import logging
import shutil
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text, update

from gateway.db.changes import touch
from gateway.db.database import Database
from gateway.db.tables import FineTuningJobRow, ModelRow
from gateway.errors import Unavailable
from gateway.fine_tuning.lease import Lease
from gateway.fine_tuning.models import MIRROR
from gateway.fine_tuning.runner import job_directory
from gateway.services import WorkerServices
from gateway.tasks import publish_models as module
from gateway.tasks.publish_models import publish_checkpoint, publish_model
from gateway.tasks.reconcile_adapters import reconcile_adapters
from gateway.tasks.remove_model_files import remove_model_files
from tests.fakes.engine import FakeEngine
from tests.fakes.fine_tuning import QUICK, until
from tests.fakes.tuned_models import add_job, live, rows_of, set_status, write_adapter, write_full
from trainer.contract import MODEL, CheckpointSaved, Metrics, Succeeded

pytestmark = pytest.mark.anyio

NAME = "ft:base:tuneway::12345678"


@pytest.fixture
async def job(wv: WorkerServices, project_key: dict[str, Any]) -> FineTuningJobRow:
    return await add_job(wv.database, project_key, status="running")


@pytest.fixture
def directory(wv: WorkerServices, job: FineTuningJobRow) -> Path:
    return job_directory(wv.settings.data_dir, job.id)


def saved(directory: Path, step: int) -> CheckpointSaved:
    """A checkpoint on disk, with its optimizer, and the event that tells of it."""
    path = directory / "checkpoints" / f"step-{step}"
    write_adapter(path, f"weights {step}".encode())
    for name in ("optimizer.pt", "scheduler.pt", "manifest.json", "trainer_state.json"):
        (path / name).write_bytes(b"state")
    return CheckpointSaved(
        sequence=step,
        created_at=time.time(),
        path=f"checkpoints/step-{step}",
        step=step,
        epoch=step,
        metrics=Metrics(step=step),
    )


def published(wv: WorkerServices) -> list[str]:
    root = wv.settings.data_dir / "adapters"
    return sorted(path.name for path in root.iterdir()) if root.exists() else []


async def waits_for_a_lock(database: Database) -> bool:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with database.session() as session:
        return bool(await session.scalar(text(waiting)))


class TestCheckpoint:
    async def test_is_a_model_with_nothing_but_its_adapter(
        self, wv: WorkerServices, engine: FakeEngine, job: FineTuningJobRow, directory: Path
    ) -> None:
        await publish_checkpoint(wv, job, directory, saved(directory, 8))
        row = (await rows_of(wv.database))[f"{NAME}:ckpt-step-8"]
        assert (row.step, row.kind, row.job_id, row.base_model) == (8, "adapter", job.id, "base")
        files = wv.settings.data_dir / row.adapter_path
        assert sorted(path.name for path in files.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
        assert (files / "adapter_model.safetensors").read_bytes() == b"weights 8"
        await until(lambda: engine.adapters == {row.id: str(files)})

    async def test_told_again_it_is_there_once(
        self, wv: WorkerServices, engine: FakeEngine, job: FineTuningJobRow, directory: Path
    ) -> None:
        event = saved(directory, 8)
        for _ in range(3):
            await publish_checkpoint(wv, job, directory, event)
        event = saved(directory, 9)
        await asyncio.gather(*(publish_checkpoint(wv, job, directory, event) for _ in range(3)))
        assert await live(wv.database) == [f"{NAME}:ckpt-step-8", f"{NAME}:ckpt-step-9"]
        assert published(wv) == [f"{job.id}-step-8", f"{job.id}-step-9"]

    async def test_last_three_are_kept(
        self, wv: WorkerServices, engine: FakeEngine, job: FineTuningJobRow, directory: Path
    ) -> None:
        events = [saved(directory, step) for step in (5, 10, 15, 100)]
        for event in events:
            await publish_checkpoint(wv, job, directory, event)
        assert await live(wv.database) == [f"{NAME}:ckpt-step-{step}" for step in (10, 100, 15)]
        await until(lambda: len(engine.adapters) == 4)
        await reconcile_adapters(wv)
        assert sorted(engine.adapters) == [f"{NAME}:ckpt-step-{step}" for step in (10, 100, 15)]
        await remove_model_files(wv, grace=-1.0)
        assert published(wv) == [f"{job.id}-step-{step}" for step in (10, 100, 15)]
        for event in events:  # a trainer that resumed tells all of it again
            await publish_checkpoint(wv, job, directory, event)
        assert len(await live(wv.database)) == 3
        assert published(wv) == [f"{job.id}-step-{step}" for step in (10, 100, 15)]

    async def test_one_that_was_never_published_and_is_too_old_now_stays_unpublished(
        self, wv: WorkerServices, job: FineTuningJobRow, directory: Path
    ) -> None:
        for step in (2, 3, 4, 1):
            await publish_checkpoint(wv, job, directory, saved(directory, step))
        assert f"{NAME}:ckpt-step-1" not in await rows_of(wv.database)
        assert f"{job.id}-step-1" not in published(wv)

    async def test_one_that_a_job_continues_from_outlives_the_others(
        self, wv: WorkerServices, project_key: dict[str, Any], job: FineTuningJobRow, directory: Path
    ) -> None:
        await publish_checkpoint(wv, job, directory, saved(directory, 1))
        child = await add_job(wv.database, project_key, "ftjob-child", model=f"{NAME}:ckpt-step-1", status="queued")
        for step in (2, 3, 4):
            await publish_checkpoint(wv, job, directory, saved(directory, step))
        assert len(await live(wv.database)) == 4
        await set_status(wv.database, child.id, "succeeded")
        await remove_model_files(wv)
        assert await live(wv.database) == [f"{NAME}:ckpt-step-{step}" for step in (2, 3, 4)]

    async def test_worker_killed_after_the_copy_leaves_files_that_the_next_uses(
        self,
        wv: WorkerServices,
        job: FineTuningJobRow,
        directory: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        event = saved(directory, 8)

        async def killed(*_: object) -> None:
            raise Unavailable("killed here")

        with monkeypatch.context() as patched:
            patched.setattr(module, "add_model", killed)
            with pytest.raises(Unavailable):
                await publish_checkpoint(wv, job, directory, event)
        assert published(wv) == [f"{job.id}-step-8"]
        assert await live(wv.database) == []
        await remove_model_files(wv, orphan_after=-1.0)
        assert published(wv) == [f"{job.id}-step-8"]  # its job has not ended
        await publish_checkpoint(wv, job, directory, event)
        assert await live(wv.database) == [f"{NAME}:ckpt-step-8"]

    async def test_files_of_a_job_that_ended_without_their_row_are_removed_in_the_end(
        self, wv: WorkerServices, engine: FakeEngine, job: FineTuningJobRow
    ) -> None:
        write_adapter(wv.settings.data_dir / "adapters" / f"{job.id}-step-8")
        await set_status(wv.database, job.id, "cancelled")
        await remove_model_files(wv)
        assert published(wv) == [f"{job.id}-step-8"]
        await remove_model_files(wv, orphan_after=-1.0)
        assert published(wv) == []

    async def test_one_that_the_trainer_has_removed_is_skipped(
        self, wv: WorkerServices, job: FineTuningJobRow, directory: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        event = saved(directory, 8)
        (directory / event.path / "adapter_model.safetensors").unlink()
        await publish_checkpoint(wv, job, directory, event)
        assert "holds no weights" in caplog.text
        (directory / event.path / "adapter_config.json").unlink()
        await publish_checkpoint(wv, job, directory, event)
        assert await live(wv.database) == []
        assert published(wv) == []

    async def test_and_who_changes_an_old_one_at_that_moment_do_not_wait_for_each_other(
        self, wv: WorkerServices, job: FineTuningJobRow, directory: Path
    ) -> None:
        for step in (1, 2, 3):
            await publish_checkpoint(wv, job, directory, saved(directory, step))
        oldest = (await rows_of(wv.database))[f"{NAME}:ckpt-step-1"]
        async with wv.database.session() as session:
            await session.execute(update(ModelRow).where(ModelRow.id == oldest.id).values(problem="full"))
            publishing = asyncio.ensure_future(publish_checkpoint(wv, job, directory, saved(directory, 4)))
            await until(lambda: waits_for_a_lock(wv.database))
            await touch(session, MIRROR)
        await publishing
        assert len(await live(wv.database)) == 3

    async def test_one_that_the_trainer_removes_while_it_is_copied_is_skipped(
        self, wv: WorkerServices, job: FineTuningJobRow, directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        event = saved(directory, 8)

        def overtaken(path: Path, target: Path) -> None:
            shutil.rmtree(directory / event.path)
            shutil.copy(path, target)

        monkeypatch.setattr(shutil, "copy2", overtaken)
        await publish_checkpoint(wv, job, directory, event)
        assert await live(wv.database) == []
        assert published(wv) == []

    async def test_engine_that_is_away_delays_nothing_and_gets_it_later(
        self, wv: WorkerServices, engine: FakeEngine, job: FineTuningJobRow, directory: Path
    ) -> None:
        engine.away = True
        await publish_checkpoint(wv, job, directory, saved(directory, 8))
        assert await live(wv.database) == [f"{NAME}:ckpt-step-8"]
        engine.away = False
        await reconcile_adapters(wv)
        await until(lambda: list(engine.adapters) == [f"{NAME}:ckpt-step-8"])

    async def test_of_a_cancelled_job_is_a_model_too(
        self, wv: WorkerServices, engine: FakeEngine, job: FineTuningJobRow, directory: Path
    ) -> None:
        await set_status(wv.database, job.id, "cancelled")
        await publish_checkpoint(wv, job, directory, saved(directory, 8))
        assert await live(wv.database) == [f"{NAME}:ckpt-step-8"]

    async def test_of_all_weights_is_a_model_with_weights_of_its_own(
        self, wv: WorkerServices, job: FineTuningJobRow, directory: Path
    ) -> None:
        event = saved(directory, 8)
        path = directory / event.path
        (path / "adapter_config.json").unlink()
        (path / "adapter_model.safetensors").rename(path / "model.safetensors")
        (path / "config.json").write_text("{}")
        (path / "tokenizer.json").write_text("{}")
        await publish_checkpoint(wv, job, directory, event)
        row = (await rows_of(wv.database))[f"{NAME}:ckpt-step-8"]
        assert row.kind == "full"
        names = sorted(file.name for file in (wv.settings.data_dir / row.adapter_path).iterdir())
        assert names == ["config.json", "model.safetensors", "tokenizer.json"]

    async def test_of_a_job_that_continues_from_a_checkpoint_names_the_same_base(
        self, wv: WorkerServices, project_key: dict[str, Any]
    ) -> None:
        job = await add_job(wv.database, project_key, "ftjob-child", model=f"{NAME}:ckpt-step-8", status="running")
        directory = job_directory(wv.settings.data_dir, job.id)
        await publish_checkpoint(wv, job, directory, saved(directory, 2))
        assert await live(wv.database) == ["ft:base:tuneway::ob-child:ckpt-step-2"]


class TestFullWeights:
    async def test_that_the_engine_refuses_are_a_model_and_the_job_says_how_to_serve_it(
        self, wv: WorkerServices, client: httpx.AsyncClient, engine: FakeEngine, job: FineTuningJobRow, directory: Path
    ) -> None:
        """vLLM finds no adapter there; the fake engine answers as it does."""
        write_full(directory / MODEL)
        lease = Lease(wv.database, 5.0, poll_seconds=0.02)
        await set_status(wv.database, job.id, "queued")
        assert await lease.take_next()
        await set_status(wv.database, job.id, "running")
        result = Succeeded(output=MODEL, trained_tokens=3, steps=1, metrics=Metrics(step=1), seconds=1.0)
        await publish_model(wv, lease, job, directory, result, QUICK)
        row = (await rows_of(wv.database))[NAME]
        assert (row.kind, row.deleted_at) == ("full", None)
        assert "No adapter found" in str(row.problem)
        shown = (await client.get(f"/v1/fine_tuning/jobs/{job.id}")).json()
        assert (shown["status"], shown["fine_tuned_model"]) == ("succeeded", NAME)
        events = (await client.get(f"/v1/fine_tuning/jobs/{job.id}/events")).json()["data"]
        [warning] = [event["message"] for event in events if event["level"] == "warn"]
        assert f"--model {wv.settings.data_dir / row.adapter_path} --served-model-name {NAME}" in warning

    async def test_that_cannot_be_served_keep_the_reason_in_every_round(
        self,
        wv: WorkerServices,
        engine: FakeEngine,
        job: FineTuningJobRow,
        directory: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        event = saved(directory, 8)
        (directory / event.path / "adapter_config.json").rename(directory / event.path / "config.json")
        await publish_checkpoint(wv, job, directory, event)
        with caplog.at_level(logging.ERROR):
            for _ in range(3):
                await reconcile_adapters(wv, retry_after=0.0)
        assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1
        assert "No adapter found" in str((await rows_of(wv.database))[f"{NAME}:ckpt-step-8"].problem)
        assert json.loads((wv.settings.data_dir / f"adapters/{job.id}-step-8/config.json").read_text())["r"] == 8
