"""Providers in memory: opened, merged with the settings', and one that cannot be opened takes no other down."""

import logging
from typing import Any

import pytest
from sqlalchemy import update

from gateway.db.changes import touch
from gateway.db.database import Database
from gateway.db.mirror import Mirrors
from gateway.db.reseal import reseal
from gateway.db.tables import UpstreamRow
from gateway.errors import ModelNotFound
from gateway.kit.sealing import Sealer
from gateway.protocol.upstreams import ServedModel, UpstreamFields
from gateway.routing import upstreams
from gateway.routing.catalog import Catalog
from gateway.routing.upstream_book import UpstreamBook, provider_of
from gateway.settings import EngineSettings, Secret, Settings, UpstreamSettings

pytestmark = pytest.mark.anyio

OLD, NEW = Sealer([b"o" * 32]), Sealer([b"n" * 32])
BOTH = Sealer([b"n" * 32, b"o" * 32])
NO_SETTINGS = Settings()
KEY = "sk-provider-key"


async def made(database: Database, sealer: Sealer = OLD, **more: Any) -> UpstreamRow:
    given: dict[str, Any] = {"name": "acme", "base_url": "http://127.0.0.1:9/v1", "models": ["acme-1"]}
    async with database.session() as session:
        return await upstreams.create(session, NO_SETTINGS, sealer, UpstreamFields(**given | more))


async def loaded(database: Database, sealer: Sealer = OLD) -> UpstreamBook:
    book = UpstreamBook(sealer)
    async with database.raw() as connection:
        await book.load(connection)
    return book


class TestLoad:
    async def test_opens_what_is_sealed(self, database: Database) -> None:
        row = await made(
            database,
            api_key=KEY,
            models=["acme-1", ServedModel("ours", "theirs")],
            headers={"X-Team": "shop"},
            secret_headers={"X-Token": "t"},
            organization="org",
            proxy="http://u:p@proxy:3128",
        )
        book = await loaded(database)
        found = book.find("ours")
        assert found is not None
        assert (found.served_name, found.problem, found.upstream.api_key) == ("theirs", None, KEY)
        assert found.upstream.headers == {"openai-organization": "org", "x-team": "shop", "x-token": "t"}
        assert found.upstream.proxy == "http://u:p@proxy:3128"
        assert [each.model for each in book.deployments] == ["acme-1", "ours"]
        provider = book.provider(row.id)
        assert provider is not None
        assert provider.upstream is found.upstream

    async def test_no_secret_shows_in_a_traceback(self, database: Database) -> None:
        await made(database, api_key=KEY, secret_headers={"X-Token": "tok-123"}, proxy="http://u:pass-1@proxy:3128")
        book = await loaded(database)
        shown = repr(book.deployments)
        assert "acme" in shown
        assert not any(secret in shown for secret in (KEY, "tok-123", "pass-1"))

    async def test_follows_what_changes(self, database: Database) -> None:
        book = UpstreamBook(OLD)
        mirrors = Mirrors(database, [book])
        await mirrors.refresh()
        row = await made(database, api_key=KEY)
        await mirrors.refresh()
        before = book.find("acme-1")
        async with database.session() as session:
            await upstreams.update(session, NO_SETTINGS, OLD, row.id, UpstreamFields(api_key="sk-another"))
        await mirrors.refresh()
        after = book.find("acme-1")
        assert before is not None
        assert after is not None
        assert (before.upstream.api_key, after.upstream.api_key) == (KEY, "sk-another")
        async with database.session() as session:
            await upstreams.delete(session, row.id)
        await mirrors.refresh()
        assert (book.find("acme-1"), book.deployments, book.provider(row.id)) == (None, [], None)

    @pytest.mark.parametrize("secret", ["api_key", "secret_headers", "proxy"])
    async def test_one_that_cannot_be_opened_has_a_problem_and_the_others_are_there(
        self, secret: str, database: Database, caplog: pytest.LogCaptureFixture
    ) -> None:
        given = {"api_key": KEY, "secret_headers": {"X-Token": "t"}, "proxy": "http://u:p@proxy:3128"}
        row = await made(database, **{secret: given[secret]})
        await made(database, NEW, name="other", models=["other-1"], api_key="sk-other")
        with caplog.at_level(logging.ERROR):
            book = await loaded(database, NEW)
        broken, other = book.find("acme-1"), book.find("other-1")
        assert broken is not None
        assert other is not None
        assert (other.problem, other.upstream.api_key) == (None, "sk-other")
        assert broken.upstream.api_key == ""
        assert broken.problem is not None
        assert "set encryption_key" in broken.problem
        assert f"POST /v1/upstreams/{row.id}" in broken.problem
        assert broken.problem in caplog.text

    async def test_a_kind_of_a_newer_version_is_a_problem(self, database: Database) -> None:
        row = await made(database)
        async with database.session() as session:
            await session.execute(update(UpstreamRow).where(UpstreamRow.id == row.id).values(kind="gopher"))
            await touch(session, upstreams.MIRROR)
        found = (await loaded(database)).find("acme-1")
        assert found is not None
        assert "`gopher`, which this version does not know" in (found.problem or "")

    async def test_a_model_of_a_newer_version_is_passed_over(self, database: Database) -> None:
        row = await made(database)
        strange: list[Any] = ["acme-1", {"model": "x", "colour": "red"}, 5, None]
        async with database.session() as session:
            await session.execute(update(UpstreamRow).where(UpstreamRow.id == row.id).values(models=strange))
        assert [each.model for each in (await loaded(database)).deployments] == ["acme-1"]


class TestCatalog:
    async def test_the_settings_come_first(self, database: Database) -> None:
        await made(database, models=["a", "base", "fresh"])
        configured = UpstreamSettings(name="mock", base_url="http://127.0.0.1:8/v1", api_key=Secret("k"), models=("a",))
        settings = Settings(engine=EngineSettings(url="http://127.0.0.1:7/v1", model="base"), upstreams=(configured,))
        catalog = Catalog(settings, await loaded(database))
        assert [each.model for each in catalog.visible_to("p")] == ["base", "a", "fresh"]
        assert {name: catalog.find(name, "p").upstream.name for name in ("a", "base", "fresh")} == {
            "a": "mock",
            "base": "engine",
            "fresh": "acme",
        }

    async def test_every_project_may_call_them(self, database: Database) -> None:
        catalog = Catalog(NO_SETTINGS, await loaded(database))
        with pytest.raises(ModelNotFound):
            catalog.find("acme-1", "p")
        await made(database)
        assert Catalog(NO_SETTINGS, await loaded(database)).find("acme-1", "q").upstream.name == "acme"


class TestReseal:
    async def test_everything_is_of_the_first_key_then(self, database: Database) -> None:
        row = await made(database, api_key=KEY, secret_headers={"X-Token": "t"}, proxy="http://u:p@proxy:3128")
        await made(database, NEW, name="current", models=[], api_key="sk-current")
        async with database.session() as session:
            done = await reseal(session, BOTH)
        assert (done.renewed, done.current, done.broken) == (3, 1, [])
        async with database.session() as session:
            provider = provider_of(await upstreams.upstream(session, row.id), NEW)
        assert (provider.problem, provider.upstream.api_key) == (None, KEY)
        assert provider.upstream.headers == {"x-token": "t"}
        assert provider.upstream.proxy == "http://u:p@proxy:3128"

    async def test_processes_hear_of_it(self, database: Database) -> None:
        await made(database, api_key=KEY)
        book = UpstreamBook(NEW)
        mirrors = Mirrors(database, [book])
        await mirrors.refresh()
        async with database.session() as session:
            await reseal(session, BOTH)
        await mirrors.refresh()
        found = book.find("acme-1")
        assert found is not None
        assert found.upstream.api_key == KEY

    async def test_what_cannot_be_opened_stays_as_it_is(self, database: Database) -> None:
        row = await made(database, api_key=KEY)
        async with database.session() as session:
            done = await reseal(session, NEW)
        assert (done.renewed, done.current, len(done.broken)) == (0, 0, 1)
        assert "encrypted_key of the upstream `acme`" in done.broken[0]
        async with database.session() as session:
            assert provider_of(await upstreams.upstream(session, row.id), OLD).upstream.api_key == KEY
