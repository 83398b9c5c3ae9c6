"""What a name means, and to whom."""

from typing import Any

import pytest
from sqlalchemy import func, update

from gateway.db.database import Database
from gateway.db.mirror import Mirror, Mirrors
from gateway.db.tables import ModelRow
from gateway.errors import ModelNotFound
from gateway.kit.sealing import Sealer
from gateway.protocol.routes import Fallback, RouteSpec, RouteTimeouts, Target
from gateway.routing import resolve, routes
from gateway.routing.catalog import Catalog
from gateway.routing.plan import Plan
from gateway.routing.resolve import Names
from gateway.routing.route_book import RouteBook
from gateway.routing.upstream_book import UpstreamBook
from gateway.settings import EngineSettings, RouteSettings, RoutingSettings, Settings, TimeoutSettings, UpstreamSettings
from tests.fakes.tuned_models import add_job, add_tuned

pytestmark = pytest.mark.anyio

PROVIDER = UpstreamSettings(name="p", base_url="http://127.0.0.1:9/v1", models=("m", "n"))
ENGINE = EngineSettings(url="http://127.0.0.1:8/v1", model="base")
TUNED = "ft:base:tuneway::12345678"


class Looks:
    """Counts looks at the database."""

    def __init__(self) -> None:
        self.count = 0

    async def catch_up(self) -> None:
        self.count += 1


def made(name: str, *targets: str, **more: Any) -> RouteSettings:
    return RouteSettings(name=name, targets=tuple(Target(model=each) for each in targets), **more)


def names(*routes: RouteSettings, looks: Any = None, catalog: Catalog | None = None, **routing: Any) -> Names:
    catalog = catalog or Catalog(Settings(engine=ENGINE, upstreams=(PROVIDER,)))
    return Names(catalog, RouteBook(routes), looks or Looks(), RoutingSettings(**routing), TimeoutSettings())


def models(plan: Plan) -> tuple[list[str], list[str]]:
    return [each.deployment.model for each in plan.targets], [each.deployment.model for each in plan.fallbacks]


class TestOrder:
    async def test_an_exact_model(self) -> None:
        plan = await names().plan("m", "p")
        assert (models(plan), plan.route, plan.route_label) == ((["m"], []), None, None)

    async def test_an_alias(self) -> None:
        plan = await names(aliases={"gpt": "m"}).plan("gpt", "p")
        assert (models(plan), plan.name) == ((["m"], []), "gpt")

    async def test_a_route(self) -> None:
        plan = await names(made("r", "m", "n")).plan("r", "p")
        assert (models(plan)[0], plan.route_label) == (["m", "n"], "r@0")

    async def test_a_route_hides_a_model_which_it_may_name(self) -> None:
        plan = await names(made("m", "m", "n")).plan("m", "p")
        assert (models(plan)[0], plan.route_label) == (["m", "n"], "m@0")

    async def test_an_alias_hides_neither(self) -> None:
        found = names(made("r", "m"), aliases={"r": "n", "m": "n", "x": "m"})
        assert models(await found.plan("r", "p"))[0] == ["m"]
        assert models(await found.plan("m", "p"))[0] == ["m"]

    async def test_nothing_stands_in_for_a_fine_tuned_model(self) -> None:
        looks = Looks()
        found = names(made(TUNED, "m"), looks=looks, aliases={TUNED: "m"})
        with pytest.raises(ModelNotFound):
            await found.plan(TUNED, "p")
        assert (looks.count, found.route(TUNED, "p")) == (1, None)

    async def test_a_target_is_never_a_route_but_may_be_an_alias(self) -> None:
        found = names(made("r", "s", "gpt"), made("s", "n"), aliases={"gpt": "m"})
        assert models(await found.plan("r", "p"))[0] == ["m"]

    async def test_an_alias_of_a_route_or_of_an_alias_is_none(self) -> None:
        for name in ("r", "gpt"):
            with pytest.raises(ModelNotFound):
                await names(made("r", "m"), aliases={"x": name, "gpt": "m"}).plan("x", "p")

    async def test_a_name_that_is_none_asks_nobody(self) -> None:
        looks = Looks()
        with pytest.raises(ModelNotFound) as raised:
            await names(looks=looks).plan("gpt-x", "p")
        assert (raised.value.param, looks.count) == ("model", 0)


class TestRoutes:
    async def test_what_is_gone_is_passed_over(self) -> None:
        of = made("r", "gone", "m", fallbacks=(Fallback(model="gone"), Fallback(model="n", on=("timeout",))))
        plan = await names(of).plan("r", "p")
        assert models(plan) == (["m"], ["n"])
        assert plan.fallbacks[0].on == {"timeout"}

    async def test_a_target_without_weight_gets_nothing(self) -> None:
        of = RouteSettings(name="r", targets=(Target(model="m", weight=0), Target(model="n", weight=2.5)))
        plan = await names(of).plan("r", "p")
        assert [(each.deployment.model, each.weight) for each in plan.targets] == [("n", 2.5)]

    async def test_when_no_target_is_left_a_fallback_for_that_answers(self) -> None:
        plan = await names(made("r", "gone", fallbacks=(Fallback(model="m"),))).plan("r", "p")
        assert models(plan) == ([], ["m"])

    @pytest.mark.parametrize("fallbacks", [(), (Fallback(model="gone"),), (Fallback(model="m", on=("timeout",)),)])
    async def test_when_nothing_is_left_it_does_not_exist(self, fallbacks: tuple[Fallback, ...]) -> None:
        with pytest.raises(ModelNotFound, match="`r` does not exist"):
            await names(made("r", "gone", fallbacks=fallbacks)).plan("r", "p")

    async def test_a_call_that_must_not_fall_back(self) -> None:
        of = made("r", "m", fallbacks=(Fallback(model="n"),))
        plan = await names(of).plan("r", "p", fall_back=False)
        assert (models(plan), plan.fall_back) == ((["m"], []), False)
        with pytest.raises(ModelNotFound):
            await names(made("r", "gone", fallbacks=(Fallback(model="n"),))).plan("r", "p", fall_back=False)

    async def test_what_it_does_not_say_is_in_the_settings(self) -> None:
        plan = await names(made("r", "m", timeouts=RouteTimeouts(first_token=3.0))).plan("r", "p")
        usual = TimeoutSettings()
        assert plan.timeouts == RouteTimeouts(connect=usual.connect, first_token=3.0, idle=usual.idle, total=None)


class TestWithoutARoute:
    async def test_a_model_has_the_fallbacks_of_the_settings(self) -> None:
        found = names(fallbacks={"m": ("gone", "m", "gpt", "base")}, aliases={"gpt": "n"}, retries=3)
        plan = await found.plan("m", "p")
        assert (models(plan), plan.retries.count) == ((["m"], ["n", "base"]), 3)
        assert models(await found.plan("m", "p", fall_back=False)) == (["m"], [])

    async def test_a_plain_plan_is_made_once(self) -> None:
        found = names(fallbacks={"n": ("m",)})
        assert await found.plan("m", "p") is await found.plan("m", "p")
        assert await found.plan("n", "p") is not await found.plan("n", "p", fall_back=False)


class TestKept:
    """A plan is made once; what was loaded since is in the next one."""

    async def test_is_known_for_its_name_its_project_and_whether_it_may_fall_back(self) -> None:
        found = names(made("r", "m", fallbacks=(Fallback(model="n"),)))
        plan = await found.plan("r", "p")
        assert found.known("r", "p") is plan
        assert [found.known("r", "q"), found.known("m", "p"), found.known("r", "p", fall_back=False)] == [None] * 3

    async def test_no_more_are_kept_than_that(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(resolve, "MOST_PLANS", 2)
        found = names()
        for project in ("p", "q", "r"):
            await found.plan("m", project)
        assert [found.known("m", project) is None for project in ("p", "q", "r")] == [True, True, False]

    async def test_a_route_that_is_made_or_deleted(self, database: Database) -> None:
        book = RouteBook()
        found = Names(Catalog(Settings(upstreams=(PROVIDER,))), book, Mirrors(database, [book]))
        plain = await found.plan("m", "p")
        async with database.session() as session:
            spec = RouteSpec(targets=(Target(model="n"),))
            route = await routes.create(session, "m", None, spec, created_by="key_1")
        await self._loaded(database, book)
        assert found.known("m", "p") is None
        assert models(await found.plan("m", "p"))[0] == ["n"]
        async with database.session() as session:
            await routes.delete(session, await routes.route(session, route.id, lock=True))
        await self._loaded(database, book)
        assert models(await found.plan("m", "p")) == models(plain)

    async def test_a_model_that_is_deleted(self, database: Database, project_key: dict[str, Any]) -> None:
        catalog, project_id = Catalog(Settings(engine=ENGINE)), project_key["project_id"]
        await add_tuned(database, await add_job(database, project_key))
        await self._loaded(database, catalog)
        found = names(catalog=catalog)
        assert await found.plan(TUNED, project_id) is found.known(TUNED, project_id)
        async with database.session() as session:
            await session.execute(update(ModelRow).values(deleted_at=func.now()))
        await self._loaded(database, catalog)
        assert found.known(TUNED, project_id) is None
        with pytest.raises(ModelNotFound):
            await found.plan(TUNED, project_id)

    async def test_a_provider_that_is_loaded(self, database: Database) -> None:
        book = UpstreamBook(Sealer())
        found = names(catalog=Catalog(Settings(upstreams=(PROVIDER,)), book))
        plan = await found.plan("m", "p")
        await self._loaded(database, book)
        assert found.known("m", "p") is None
        assert await found.plan("m", "p") is not plan

    async def _loaded(self, database: Database, mirror: Mirror) -> None:
        async with database.raw() as connection:
            await mirror.load(connection)


class TestTuned:
    @pytest.fixture
    async def catalog(self, database: Database, project_key: dict[str, Any]) -> Catalog:
        """Empty at first, while the database has a fine-tuned model."""
        await add_tuned(database, await add_job(database, project_key))
        return Catalog(Settings(engine=ENGINE, upstreams=(PROVIDER,)))

    async def test_one_that_is_new_is_looked_up_once(
        self, catalog: Catalog, database: Database, project_key: dict[str, Any]
    ) -> None:
        found = names(catalog=catalog, looks=Mirrors(database, [catalog]), fallbacks={"base": ("m",)})
        plan = await found.plan(TUNED, project_key["project_id"])
        assert models(plan) == ([TUNED], ["base", "m"])
        with pytest.raises(ModelNotFound):
            await found.plan(TUNED, "proj_other")

    async def test_need_not_fall_back_to_its_base(
        self, catalog: Catalog, database: Database, project_key: dict[str, Any]
    ) -> None:
        found = names(catalog=catalog, looks=Mirrors(database, [catalog]), fine_tuned_to_base=False)
        assert models(await found.plan(TUNED, project_key["project_id"]))[1] == []

    async def test_a_route_shows_it_only_to_those_who_may_call_it(
        self, catalog: Catalog, database: Database, project_key: dict[str, Any]
    ) -> None:
        await Mirrors(database, [catalog]).refresh()
        found = names(made("r", TUNED, "m"), catalog=catalog)
        assert models(await found.plan("r", project_key["project_id"]))[0] == [TUNED, "m"]
        assert models(await found.plan("r", "proj_other"))[0] == ["m"]


class TestVisible:
    def test_routes_and_what_they_do_not_hide(self) -> None:
        found = names(made("r", "m"), made("gpt-2", "m"), aliases={"gpt": "m", "gpt-2": "m", "n": "m", "x": "gone"})
        routes, aliases = found.visible_to("p")
        assert ([route.name for route in routes], aliases) == (["r", "gpt-2"], ["gpt"])
