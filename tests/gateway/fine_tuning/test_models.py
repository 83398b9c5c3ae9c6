"""Rows of models: whose they are, and until when."""

import asyncio
from typing import Any

import pytest

from gateway.db.database import Database
from gateway.db.tables import CheckpointPermissionRow
from gateway.errors import Conflict, ModelNotFound
from gateway.fine_tuning import models
from gateway.kit.clock import now
from tests.fakes.tuned_models import add_job, add_tuned, live, rows_of

pytestmark = pytest.mark.anyio

Key = dict[str, Any]


async def grant(database: Database, model_id: str, project_id: str) -> None:
    async with database.session() as session:
        session.add(CheckpointPermissionRow(id="cp_1", created_at=now(), model_id=model_id, project_id=project_id))


class TestAddModel:
    async def test_again_changes_nothing(self, database: Database, project_key: Key) -> None:
        job = await add_job(database, project_key)
        await add_tuned(database, job, adapter_path="first")
        row = await add_tuned(database, job, adapter_path="second")
        assert (await rows_of(database))[row.id].adapter_path == "first"

    async def test_deleted_one_does_not_come_back(self, database: Database, project_key: Key) -> None:
        job = await add_job(database, project_key)
        row = await add_tuned(database, job)
        async with database.session() as session:
            await models.delete_model(session, row.project_id, row.id)
        await add_tuned(database, job)
        assert await live(database) == []


class TestLiveModels:
    async def test_finals_come_first_then_the_newest(self, database: Database, project_key: Key) -> None:
        for name in ("ftjob-older", "ftjob-newer"):
            job = await add_job(database, project_key, name)
            for step in (1, 2, None):
                await add_tuned(database, job, step=step)
        async with database.session() as session:
            order = [(row.job_id, row.step) for row in await models.live_models(session)]
        assert order == [
            *(("ftjob-newer", None), ("ftjob-older", None)),
            *(("ftjob-newer", 2), ("ftjob-newer", 1), ("ftjob-older", 2), ("ftjob-older", 1)),
        ]


class TestLiveModel:
    async def test_is_the_owners_or_granted(self, database: Database, project_key: Key, other: Key) -> None:
        row = await add_tuned(database, await add_job(database, project_key))

        async def found(project_id: str) -> bool:
            async with database.session() as session:
                return await models.live_model(session, project_id, row.id) is not None

        assert await found(project_key["project_id"])
        assert not await found(other["project_id"])
        await grant(database, row.id, other["project_id"])
        assert await found(other["project_id"])
        async with database.session() as session:
            with pytest.raises(ModelNotFound):
                await models.own_model(session, other["project_id"], row.id)

    @pytest.fixture
    async def other(self, database: Database, admin: Any) -> Key:
        made = await admin.post("/v1/organization/projects", json={"name": "other"})
        return {"project_id": made.json()["id"]}


class TestRetireCheckpoints:
    async def test_last_three_of_each_job_and_every_final_stay(self, database: Database, project_key: Key) -> None:
        for name in ("ftjob-one", "ftjob-two"):
            job = await add_job(database, project_key, name)
            for step in (8, 9, 10, 100, None):
                await add_tuned(database, job, step=step)
        async with database.session() as session:
            await models.retire_checkpoints(session)
        async with database.session() as session:
            left = {(row.job_id, row.step) for row in await models.live_models(session)}
        assert left == {(job, step) for job in ("ftjob-one", "ftjob-two") for step in (9, 10, 100, None)}


class TestDeleteModel:
    async def test_one_of_two_at_once_is_told_that_it_is_gone(self, database: Database, project_key: Key) -> None:
        row = await add_tuned(database, await add_job(database, project_key))

        async def delete() -> str:
            async with database.session() as session:
                await models.delete_model(session, row.project_id, row.id)
            return "deleted"

        ends = await asyncio.gather(delete(), delete(), return_exceptions=True)
        assert sorted(str(end) if isinstance(end, str) else type(end).__name__ for end in ends) == [
            "ModelNotFound",
            "deleted",
        ]

    async def test_in_use_it_stays(self, database: Database, project_key: Key) -> None:
        row = await add_tuned(database, await add_job(database, project_key))
        await add_job(database, project_key, "ftjob-child", model=row.id, status="paused")
        with pytest.raises(Conflict, match="ftjob-child"):
            async with database.session() as session:
                await models.delete_model(session, row.project_id, row.id)
        assert await live(database) == [row.id]
