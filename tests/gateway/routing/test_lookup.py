"""A model that exists only since a moment ago is found, whichever process is asked."""

from typing import Any

import pytest

from gateway.db.database import Database
from gateway.db.mirror import Mirrors
from gateway.db.tables import FineTuningJobRow, ModelRow
from gateway.errors import ModelNotFound
from gateway.fine_tuning import models
from gateway.kit.clock import now
from gateway.routing.catalog import Catalog, Deployment
from gateway.routing.lookup import find_deployment, not_served
from gateway.routing.upstream import Upstream
from gateway.settings import EngineSettings, Settings

pytestmark = pytest.mark.anyio

NAME = "ft:starter:tuneway::abc12345"


async def add_model(database: Database, key: dict[str, Any]) -> None:
    """What another process does when a job succeeds."""
    job = FineTuningJobRow(
        id="ftjob-1",
        project_id=key["project_id"],
        api_key_id=key["id"],
        created_at=now(),
        model="starter",
        status="succeeded",
        training_file="file-1",
        method={},
        seed=1,
    )
    row = ModelRow(
        id=NAME,
        project_id=key["project_id"],
        job_id=job.id,
        base_model="starter",
        adapter_path="adapters/1",
        created_at=now(),
    )
    async with database.session() as session:
        session.add(job)
        await session.flush()
        await models.add_model(session, row)


class TestFindDeployment:
    async def test_looks_once_at_the_database(self, database: Database, project_key: dict[str, Any]) -> None:
        catalog = Catalog(Settings(engine=EngineSettings(url="http://127.0.0.1:1/v1")))
        mirrors = Mirrors(database, [catalog])
        await mirrors.refresh()
        await add_model(database, project_key)
        found = await find_deployment(catalog, mirrors, NAME, project_key["project_id"])
        assert found.base_model == "starter"

    async def test_is_not_found_for_another_project(self, database: Database, project_key: dict[str, Any]) -> None:
        catalog = Catalog(Settings(engine=EngineSettings(url="http://127.0.0.1:1/v1")))
        mirrors = Mirrors(database, [catalog])
        await add_model(database, project_key)
        with pytest.raises(ModelNotFound):
            await find_deployment(catalog, mirrors, NAME, "proj_other")

    async def test_a_name_that_is_none_of_ours_asks_nobody(self, database: Database) -> None:
        catalog = Catalog(Settings())
        with pytest.raises(ModelNotFound):
            await find_deployment(catalog, None, "gpt-x", "proj_any")  # type: ignore[arg-type]


class TestNotServed:
    def test_is_being_loaded_unless_something_is_wrong(self) -> None:
        upstream = Upstream("engine", ("http://127.0.0.1:1/v1",), is_engine=True)
        loading = not_served(Deployment("ft:x", upstream))
        assert (loading.status, loading.code, loading.headers) == (503, "model_loading", {"retry-after": "1"})
        broken = not_served(Deployment("ft:x", upstream, problem="Its files are gone."))
        assert (broken.status, broken.code, broken.headers) == (503, "model_unavailable", {"x-should-retry": "false"})
        assert str(broken) == "The model `ft:x` cannot be served: Its files are gone."
