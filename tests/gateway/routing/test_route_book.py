"""What a name means to a project, in memory."""

import logging
from typing import Any

import pytest
from sqlalchemy import update

from gateway.db.changes import touch
from gateway.db.database import Database
from gateway.db.mirror import Mirrors
from gateway.db.tables import ProjectRow, RouteRevisionRow, RouteRow
from gateway.kit.clock import now
from gateway.projects import repository as projects
from gateway.protocol.routes import RouteSpec, Target
from gateway.routing import routes
from gateway.routing.route_book import RouteBook
from gateway.settings import RouteSettings

pytestmark = pytest.mark.anyio


def to(*models: str) -> RouteSpec:
    return RouteSpec(targets=tuple(Target(model=model) for model in models))


def configured(name: str, *models: str) -> RouteSettings:
    return RouteSettings(name=name, targets=to(*models).targets, sticky="user")


async def made(database: Database, name: str, spec: RouteSpec, project_id: str | None = None) -> RouteRow:
    async with database.session() as session:
        return await routes.create(session, name, project_id, spec, created_by="key_1")


async def project(database: Database, project_id: str) -> str:
    async with database.session() as session:
        session.add(ProjectRow(id=project_id, name=project_id, created_at=now(), archived_at=None))
    return project_id


async def write(database: Database, row: RouteRow, spec: Any) -> None:
    """A revision as another version of the service may have written it."""
    async with database.session() as session:
        await session.execute(update(RouteRevisionRow).where(RouteRevisionRow.route_id == row.id).values(spec=spec))
        await touch(session, routes.MIRROR)


def first_target(book: RouteBook, name: str, project_id: str = "proj_any") -> str | None:
    found = book.find(name, project_id)
    return found.spec.targets[0].model if found else None


class TestFind:
    async def test_the_projects_own_comes_before_the_organisations(self, database: Database) -> None:
        book = RouteBook()
        mirrors = Mirrors(database, [book])
        own = await project(database, "proj_own")
        await made(database, "bot", to("shared"))
        await made(database, "bot", to("mine"), own)
        await mirrors.refresh()
        assert (first_target(book, "bot", own), first_target(book, "bot", "proj_other")) == ("mine", "shared")
        assert first_target(book, "other", own) is None

    async def test_one_of_the_api_comes_before_one_of_the_settings_and_gives_way_when_deleted(
        self, database: Database
    ) -> None:
        book = RouteBook([configured("bot", "written")])
        mirrors = Mirrors(database, [book])
        assert first_target(book, "bot") == "written"
        row = await made(database, "bot", to("made"))
        await mirrors.refresh()
        assert first_target(book, "bot") == "made"
        async with database.session() as session:
            await routes.delete(session, await routes.route(session, row.id, lock=True))
        await mirrors.refresh()
        assert first_target(book, "bot") == "written"

    async def test_another_projects_is_nobodys(self, database: Database) -> None:
        book = RouteBook()
        await made(database, "bot", to("m"), await project(database, "proj_own"))
        await Mirrors(database, [book]).refresh()
        assert book.find("bot", "proj_other") is None

    async def test_shows_the_revision_in_force(self, database: Database) -> None:
        book = RouteBook()
        row = await made(database, "bot", to("first"))
        async with database.session() as session:
            await routes.revise(
                session, await routes.route(session, row.id, lock=True), to("second"), created_by="key_1"
            )
        await Mirrors(database, [book]).refresh()
        found = book.find("bot", "proj_any")
        assert found is not None
        assert (found.id, found.revision, found.source, found.spec) == (row.id, 2, "api", to("second"))
        assert found.created > 0

    async def test_an_archived_projects_routes_end_at_once(self, database: Database) -> None:
        book = RouteBook()
        mirrors = Mirrors(database, [book])
        own = await project(database, "proj_own")
        await made(database, "bot", to("m"), own)
        await mirrors.refresh()
        assert first_target(book, "bot", own) == "m"
        async with database.session() as session:
            await projects.archive(session, await projects.project(session, own))
        await mirrors.refresh()
        assert book.find("bot", own) is None


class TestOfTheSettings:
    def test_keeps_every_field_and_its_id(self) -> None:
        [route] = RouteBook([configured("bot", "a", "b")]).configured
        [again] = RouteBook([configured("bot", "c")]).configured
        assert (route.name, route.project_id, route.revision, route.source) == ("bot", None, 0, "settings")
        assert (route.spec.sticky, len(route.spec.targets)) == ("user", 2)
        assert type(route.spec) is RouteSpec
        assert route.id == again.id
        assert route.id.startswith("route_")


class TestVisibleTo:
    async def test_shows_each_name_once_as_the_project_means_it(self, database: Database) -> None:
        book = RouteBook([configured("a", "written"), configured("b", "written")])
        own, other = await project(database, "proj_own"), await project(database, "proj_other")
        await made(database, "b", to("made"))
        await made(database, "b", to("mine"), own)
        await made(database, "c", to("theirs"), other)
        await Mirrors(database, [book]).refresh()
        shown = [(route.name, route.spec.targets[0].model) for route in book.visible_to(own)]
        assert shown == [("a", "written"), ("b", "mine")]
        assert [route.name for route in book.visible_to(other)] == ["a", "b", "c"]


class TestARevisionThatCannotBeRead:
    @pytest.mark.parametrize("spec", [{"targets": [{"model": "m"}], "of_tomorrow": 1}, {"weights": []}, [1], {}])
    async def test_leaves_that_route_and_every_other_as_they_were(
        self, database: Database, caplog: pytest.LogCaptureFixture, spec: Any
    ) -> None:
        book = RouteBook()
        mirrors = Mirrors(database, [book])
        row = await made(database, "bot", to("good"))
        await mirrors.refresh()
        await write(database, row, spec)
        await made(database, "later", to("m"))
        with caplog.at_level(logging.ERROR):
            await mirrors.refresh()
        assert (first_target(book, "bot"), first_target(book, "later")) == ("good", "m")
        assert f"route {row.id} (bot): revision 1 is unreadable, revision 1 goes on" in caplog.text

    async def test_of_a_route_that_this_process_never_knew_is_left_out(
        self, database: Database, caplog: pytest.LogCaptureFixture
    ) -> None:
        book = RouteBook([configured("bot", "written")])
        await write(database, await made(database, "bot", to("good")), {"of_tomorrow": 1})
        await made(database, "other", to("m"))
        await Mirrors(database, [book]).refresh()
        assert (first_target(book, "bot"), first_target(book, "other")) == ("written", "m")
        assert "it does not answer" in caplog.text
