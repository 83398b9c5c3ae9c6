import dataclasses
import json
import logging
from collections.abc import Sequence

import httpx
import msgspec
import pytest
from sqlalchemy import text

from gateway.errors import UpstreamFailed
from gateway.services import Services, WorkerServices
from gateway.settings import EngineSettings, Settings
from gateway.tasks.reconcile_adapters import reconcile_adapters
from gateway.tasks.remove_model_files import remove_model_files
from tests.conftest import chat
from tests.fakes.engine import FakeEngine

pytestmark = pytest.mark.anyio


@pytest.fixture
async def models(project_key: dict[str, str], wv: WorkerServices, settings: Settings) -> list[str]:
    """Three models with their adapters on disk."""
    names = ["ft:base:tuneway::one", "ft:base:tuneway::two", "ft:base:tuneway::three"]
    async with wv.database.session() as session:
        job = (
            "INSERT INTO fine_tuning_jobs (id, project_id, api_key_id, created_at, model, status, training_file, method, seed)"
            " VALUES ('ftjob-1', :project, :key, now(), 'base', 'succeeded', 'file-1', '{}', 1)"
        )
        owner = {"project": project_key["project_id"], "key": project_key["id"]}
        await session.execute(text(job), owner)
        for number, name in enumerate(names):
            row = (
                "INSERT INTO models (id, project_id, job_id, base_model, adapter_path, created_at)"
                " VALUES (:name, :project, 'ftjob-1', 'base', :path, now())"
            )
            path = f"adapters/{number}"
            await session.execute(text(row), {"name": name, "project": owner["project"], "path": path})
            (settings.data_dir / path).mkdir(parents=True)
            (settings.data_dir / path / "adapter_config.json").write_text("{}")
    return names


class TestReconcileAdapters:
    async def test_what_a_restart_lost_is_loaded_again(
        self, wv: WorkerServices, engine: FakeEngine, models: Sequence[str]
    ) -> None:
        await reconcile_adapters(wv)
        assert sorted(engine.adapters) == sorted(models)
        engine.adapters.pop(models[1])
        engine.loads.clear()
        await reconcile_adapters(wv)
        assert engine.loads == [models[1]]

    async def test_deleted_model_is_not_loaded(
        self, wv: WorkerServices, engine: FakeEngine, models: Sequence[str]
    ) -> None:
        async with wv.database.session() as session:
            await session.execute(text("UPDATE models SET deleted_at = now() WHERE id = :id"), {"id": models[0]})
        await reconcile_adapters(wv)
        assert sorted(engine.adapters) == sorted(models[1:])

    async def test_one_that_does_not_fit_keeps_no_other_away_and_is_logged_once(
        self, wv: WorkerServices, engine: FakeEngine, models: Sequence[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        engine.misfit.add(models[0])
        with caplog.at_level(logging.ERROR):
            for _ in range(3):
                await reconcile_adapters(wv, retry_after=0.0)
        assert sorted(engine.adapters) == sorted(models[1:])
        assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1
        engine.misfit.clear()
        await reconcile_adapters(wv, retry_after=0.0)
        assert models[0] in engine.adapters

    async def test_problem_is_told_to_callers_until_it_is_mended(
        self, wv: WorkerServices, sv: Services, engine: FakeEngine, models: Sequence[str], client: httpx.AsyncClient
    ) -> None:
        directory = wv.settings.data_dir / "adapters" / "0"
        directory.rename(directory.with_name("away"))
        await reconcile_adapters(wv, retry_after=0.0)
        await sv.mirrors.refresh()
        assert models[0] in [model["id"] for model in (await client.get("/v1/models")).json()["data"]]
        no_fallback = {"x-tuneway-fallback": "off"}
        answer = await client.post("/v1/chat/completions", json=chat(models[0]), headers=no_fallback)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "model_unavailable")
        assert "Its files are gone" in answer.json()["error"]["message"]
        assert answer.headers["x-should-retry"] == "false"
        directory.with_name("away").rename(directory)
        await reconcile_adapters(wv, retry_after=0.0)
        assert models[0] in engine.adapters
        async with wv.database.session() as session:
            assert await session.scalar(text("SELECT count(problem) FROM models")) == 0

    async def test_what_is_served_has_no_problem(
        self, wv: WorkerServices, engine: FakeEngine, models: Sequence[str]
    ) -> None:
        """Loaded by the one that publishes it, after a round that failed."""
        async with wv.database.session() as session:
            await session.execute(text("UPDATE models SET problem = 'x'"))
        for number, name in enumerate(models):
            engine.adapters[name] = str(wv.settings.data_dir / f"adapters/{number}")
        await reconcile_adapters(wv)
        assert engine.loads == []
        async with wv.database.session() as session:
            assert await session.scalar(text("SELECT count(problem) FROM models")) == 0

    async def test_engine_that_is_away_is_told(
        self, wv: WorkerServices, engine: FakeEngine, models: Sequence[str]
    ) -> None:
        engine.away = True
        with pytest.raises(UpstreamFailed):
            await reconcile_adapters(wv)

    @pytest.mark.parametrize("odd", ["", "[]", '{"data": [{"name": 1}]}', "<html>"])
    async def test_list_of_models_that_cannot_be_read_is_told(
        self, wv: WorkerServices, engine: FakeEngine, models: Sequence[str], odd: str
    ) -> None:
        engine.odd = odd
        with pytest.raises(UpstreamFailed):
            await reconcile_adapters(wv)
        engine.odd = json.dumps({"object": "list", "data": []})
        await reconcile_adapters(wv)

    async def test_without_an_engine_there_is_nothing_to_do(self, wv: WorkerServices, engine: FakeEngine) -> None:
        alone = msgspec.structs.replace(wv.settings, engine=EngineSettings())
        await reconcile_adapters(dataclasses.replace(wv, settings=alone))
        assert engine.loads == []


class TestUnload:
    async def test_what_no_row_names_goes_once_its_job_has_ended(
        self, wv: WorkerServices, engine: FakeEngine, models: Sequence[str]
    ) -> None:
        """A job loads its adapter before its row is there."""
        adapters = wv.settings.data_dir / "adapters"
        engine.adapters = {"ft:base:tuneway::ended": str(adapters / "ftjob-1")}
        engine.adapters |= {"ft:base:tuneway::ended:ckpt-step-3": str(adapters / "ftjob-1-step-3")}
        async with wv.database.session() as session:
            await session.execute(text("UPDATE fine_tuning_jobs SET status = 'running'"))
        await reconcile_adapters(wv)
        assert len(engine.adapters) == 2 + len(models)
        async with wv.database.session() as session:
            await session.execute(text("UPDATE fine_tuning_jobs SET status = 'failed'"))
        await reconcile_adapters(wv)
        assert sorted(engine.adapters) == sorted(models)

    async def test_what_others_have_loaded_stays(
        self, wv: WorkerServices, engine: FakeEngine, models: Sequence[str]
    ) -> None:
        engine.adapters = {"theirs": "/somewhere/else", "ft:base:tuneway::theirs": "/srv/adapters/1"}
        await reconcile_adapters(wv)
        assert {"theirs", "ft:base:tuneway::theirs"} <= engine.adapters.keys()

    async def test_deleted_one_goes_even_while_its_job_runs_and_its_files_follow(
        self, wv: WorkerServices, engine: FakeEngine, models: Sequence[str]
    ) -> None:
        await reconcile_adapters(wv)
        async with wv.database.session() as session:
            await session.execute(text("UPDATE fine_tuning_jobs SET status = 'running'"))
            await session.execute(text("UPDATE models SET deleted_at = now() WHERE id = :id"), {"id": models[0]})
        files = wv.settings.data_dir / "adapters" / "0"
        await remove_model_files(wv, grace=-1.0)
        assert files.exists()  # the engine still serves it
        await reconcile_adapters(wv)
        assert sorted(engine.adapters) == sorted(models[1:])
        await remove_model_files(wv)
        assert files.exists()  # answers that are being written may need it
        engine.away = True
        with pytest.raises(UpstreamFailed):
            await remove_model_files(wv, grace=-1.0)
        assert files.exists()
        engine.away = False
        await remove_model_files(wv, grace=-1.0)
        assert not files.exists()
        assert (wv.settings.data_dir / "adapters" / "1").exists()
