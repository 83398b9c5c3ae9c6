"""Which models exist, for whom, and where."""

from pathlib import Path

import msgspec
import pytest
from sqlalchemy import text

from gateway.db.database import Database
from gateway.db.tables import ModelRow
from gateway.errors import ModelNotFound
from gateway.kit.clock import now
from gateway.routing.catalog import Catalog, provider_upstream
from gateway.settings import EngineSettings, Secret, Settings, UpstreamSettings

PROVIDER = UpstreamSettings(
    name="mock", base_url="http://127.0.0.1:9/v1/", api_key=Secret("sk-1"), models=("a", "org/b")
)
ENGINE = EngineSettings(url="http://127.0.0.1:8/v1/", model="base")


def catalog(engine: EngineSettings = ENGINE) -> Catalog:
    return Catalog(Settings(engine=engine, upstreams=(PROVIDER,)))


class TestFind:
    def test_a_providers_model(self) -> None:
        found = catalog().find("org/b", "p")
        assert (found.upstream.name, found.upstream.base_url, found.upstream.api_key) == (
            "mock",
            "http://127.0.0.1:9/v1",
            "sk-1",
        )
        assert not found.upstream.is_engine

    def test_the_engines_base_model(self) -> None:
        found = catalog().find("base", "p")
        assert (found.upstream.base_url, found.upstream.is_engine) == ("http://127.0.0.1:8/v1", True)

    @pytest.mark.parametrize("name", ["", "A", "a ", "b", "base/"])
    def test_only_exact_names_exist(self, name: str) -> None:
        with pytest.raises(ModelNotFound):
            catalog().find(name, "p")

    def test_without_an_engine_there_is_no_base_model(self) -> None:
        without = catalog(EngineSettings())
        assert without.engine is None
        with pytest.raises(ModelNotFound):
            without.find("base", "p")


class TestCreated:
    def test_is_the_date_of_the_weights(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text("{}")
        found = catalog(EngineSettings(url="http://x/v1", model="base", model_path=str(tmp_path))).find("base", "p")
        assert found.created == int((tmp_path / "config.json").stat().st_mtime)

    def test_is_0_where_it_is_unknown(self) -> None:
        assert catalog().find("a", "p").created == 0


async def add_tuned(database: Database, id: str, project: str, *, deleted: bool = False) -> None:
    """A fine-tuned model, without the job that it comes from."""
    async with database.session() as session:
        await session.execute(text("SET LOCAL session_replication_role = replica"))  # no foreign keys
        moment = now()
        row = ModelRow(id=id, project_id=project, job_id="j", base_model="base", adapter_path="x", created_at=moment)
        row.deleted_at = moment if deleted else None
        session.add(row)


@pytest.mark.anyio
class TestTunedModels:
    async def test_belong_to_their_project_alone(self, database: Database) -> None:
        await add_tuned(database, "ft:base:org::1", "p")
        models = catalog()
        async with database.raw() as connection:
            await models.load(connection)
        found = models.find("ft:base:org::1", "p")
        assert (found.base_model, found.upstream.is_engine) == ("base", True)
        assert [each.model for each in models.visible_to("p")] == ["base", "a", "org/b", "ft:base:org::1"]
        assert [each.model for each in models.visible_to("q")] == ["base", "a", "org/b"]
        with pytest.raises(ModelNotFound):
            models.find("ft:base:org::1", "q")

    async def test_a_deleted_one_is_gone(self, database: Database) -> None:
        await add_tuned(database, "ft:base:org::1", "p", deleted=True)
        models = catalog()
        async with database.raw() as connection:
            await models.load(connection)
        with pytest.raises(ModelNotFound):
            models.find("ft:base:org::1", "p")

    async def test_without_an_engine_nobody_serves_them(self, database: Database) -> None:
        await add_tuned(database, "ft:base:org::1", "p")
        models = catalog(EngineSettings())
        async with database.raw() as connection:
            await models.load(connection)
        with pytest.raises(ModelNotFound):
            models.find("ft:base:org::1", "p")


def test_everyone_sees_shared_models() -> None:
    assert [each.model for each in catalog().visible_to("p")] == ["base", "a", "org/b"]


class TestProviderUpstream:
    def test_organisation_and_project_become_headers(self) -> None:
        named = msgspec.structs.replace(PROVIDER, organization="org-1", project="proj_1", headers={"X-Team": "a"})
        assert provider_upstream(named).headers == {
            "openai-organization": "org-1",
            "openai-project": "proj_1",
            "x-team": "a",
        }

    def test_headers_of_the_settings_win(self) -> None:
        named = msgspec.structs.replace(PROVIDER, organization="org-1", headers={"OpenAI-Organization": "org-2"})
        assert provider_upstream(named).headers == {"openai-organization": "org-2"}

    def test_without_them_there_are_none(self) -> None:
        assert provider_upstream(PROVIDER).headers == {}

    def test_kind_proxy_and_key(self) -> None:
        named = msgspec.structs.replace(PROVIDER, kind="anthropic", proxy="http://127.0.0.1:3128")
        found = provider_upstream(named)
        assert (found.kind, found.proxy, found.api_key) == ("anthropic", "http://127.0.0.1:3128", "sk-1")


@pytest.mark.anyio
class TestTunedModelsOfTheOperatorsOwn:
    """Named under [[upstreams]]."""

    NAME = "ft:base:org::own"

    @pytest.fixture(params=[ENGINE, EngineSettings()], ids=["beside an engine", "without an engine"])
    def models(self, request: pytest.FixtureRequest) -> Catalog:
        own = UpstreamSettings(name="own", base_url="http://127.0.0.1:7/v1", models=(self.NAME, "ft:gpt-4o:theirs::1"))
        return Catalog(Settings(engine=request.param, upstreams=(own,)))

    async def load(self, models: Catalog, database: Database) -> None:
        async with database.raw() as connection:
            await models.load(connection)

    async def test_are_served_there_to_their_project_alone(self, models: Catalog, database: Database) -> None:
        await add_tuned(database, self.NAME, "p")
        await self.load(models, database)
        found = models.find(self.NAME, "p")
        assert (found.upstream.name, found.adapter_path, found.base_model) == ("own", None, "base")
        assert found.model in [each.model for each in models.visible_to("p")]
        assert found.model not in [each.model for each in models.visible_to("q")]
        with pytest.raises(ModelNotFound):
            models.find(self.NAME, "q")

    async def test_are_nobodys_once_deleted(self, models: Catalog, database: Database) -> None:
        await add_tuned(database, self.NAME, "p", deleted=True)
        await self.load(models, database)
        for project in ("p", "q"):
            with pytest.raises(ModelNotFound):
                models.find(self.NAME, project)

    async def test_are_nobodys_before_the_database_has_spoken(self, models: Catalog) -> None:
        with pytest.raises(ModelNotFound):
            models.find(self.NAME, "p")

    async def test_a_providers_own_are_everybodys(self, models: Catalog, database: Database) -> None:
        await self.load(models, database)
        assert models.find("ft:gpt-4o:theirs::1", "q").upstream.name == "own"
