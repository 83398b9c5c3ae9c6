"""Logs of trainings and of administration that are kept no longer."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import select

from gateway.db.database import Database
from gateway.db.tables import AuditLogRow, FineTuningEventRow
from gateway.fine_tuning.runner import job_directory
from gateway.kit.clock import now
from gateway.retention import repository
from gateway.retention_settings import RetentionSettings
from gateway.services import WorkerServices
from gateway.tasks import remove_aged_logs
from gateway.tasks.apply_retention import apply_retention
from gateway.tasks.remove_aged_logs import remove_training_files
from tests.fakes.tuned_models import add_job

pytestmark = pytest.mark.anyio


async def trained(wv: WorkerServices, key: dict[str, Any], job_id: str, ended: datetime | None) -> Path:
    """A job with three events and log files; its directory."""
    ends = {"status": "running"} if ended is None else {"status": "succeeded", "finished_at": ended}
    await add_job(wv.database, key, job_id, **ends)
    async with wv.database.session() as session:
        for number in range(3):
            session.add(
                FineTuningEventRow(
                    id=f"ftevent-{job_id}-{number}", job_id=job_id, key=f"step-{number}", created_at=now(), level="info",
                    type="metrics", message="", values={},
                )
            )  # fmt: skip
    directory = job_directory(wv.settings.data_dir, job_id)
    (directory / "wandb").mkdir(parents=True)
    for name in ("trainer.log", "events.jsonl", "spec.json", "result.json", "wandb/run"):
        (directory / name).write_text("x")
    return directory


def files_in(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


async def jobs_with_events(database: Database) -> set[str]:
    async with database.session() as session:
        return set(await session.scalars(select(FineTuningEventRow.job_id)))


class TestTrainingLogs:
    async def test_go_after_ninety_days(
        self, wv: WorkerServices, database: Database, project_key: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(remove_aged_logs, "AT_A_TIME", 2)
        old = await trained(wv, project_key, "ftjob-old", now() - timedelta(days=92))
        young = await trained(wv, project_key, "ftjob-young", now() - timedelta(days=89))
        runs = await trained(wv, project_key, "ftjob-runs", None)
        await apply_retention(wv)
        await remove_training_files(wv)
        assert await jobs_with_events(database) == {"ftjob-young", "ftjob-runs"}
        assert files_in(old) == {"spec.json", "result.json"}
        everything = {"trainer.log", "events.jsonl", "wandb", "spec.json", "result.json"}
        assert files_in(young) == files_in(runs) == everything
        async with database.session() as session:
            (told,) = await session.scalars(select(AuditLogRow.detail).where(AuditLogRow.actor_id == "tuneway"))
        removed = told["changes_requested"]["retention"]
        assert (removed["removed"], removed["count"]) == ("training_logs", 3)

    async def test_not_of_a_project_that_keeps_them(
        self, wv: WorkerServices, database: Database, project_key: dict[str, Any]
    ) -> None:
        async with database.session() as session:
            await repository.change_periods(session, project_key["project_id"], {"training_log_days": 0})
        old = await trained(wv, project_key, "ftjob-old", now() - timedelta(days=400))
        await apply_retention(wv)
        await remove_training_files(wv)
        assert await jobs_with_events(database) == {"ftjob-old"}
        assert "trainer.log" in files_in(old)


class TestAuditLog:
    async def test_old_entries_go_and_that_they_went_is_told(
        self, wv: WorkerServices, database: Database, admin: httpx.AsyncClient, project_key: dict[str, Any]
    ) -> None:
        async with database.session() as session:
            rows = list(await session.scalars(select(AuditLogRow)))
            assert len(rows) > 1
            for row in rows[1:]:
                row.effective_at = now() - timedelta(days=40)
        object.__setattr__(
            wv, "settings", msgspec.structs.replace(wv.settings, retention=RetentionSettings(audit_log_days=30))
        )
        await apply_retention(wv)
        found = (await admin.get("/v1/organization/audit_logs")).json()["data"]
        assert len(found) == 2
        assert rows[0].id in {each["id"] for each in found}
        (told,) = (each for each in found if each["id"] != rows[0].id)
        assert told["actor"]["api_key"]["id"] == "tuneway"
        removed = told["organization.updated"]["changes_requested"]["retention"]
        assert (removed["removed"], removed["count"]) == ("audit_log", len(rows) - 1)
