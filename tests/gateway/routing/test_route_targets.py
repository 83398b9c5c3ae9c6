"""Which of a route's models can be called, and by whom."""

import logging

import pytest

from gateway.protocol.routes import Fallback, RouteSpec, Target
from gateway.routing.catalog import Catalog
from gateway.routing.deployment import Deployment
from gateway.routing.route_book import RouteBook
from gateway.routing.route_targets import Uncallable, repeated, tell_of_gaps, uncallable
from gateway.routing.upstream import Upstream
from gateway.settings import RouteSettings, Settings, UpstreamSettings

TUNED = Deployment(
    "ft:x",
    Upstream("engine", ("http://127.0.0.1:1/v1",), is_engine=True),
    project_id="proj_own",
    granted=frozenset({"proj_friend"}),
)
ALIASES = {"short": "m", "tuned": "ft:x", "broken": "gone", "m": "gone"}


def catalog() -> Catalog:
    upstream = UpstreamSettings(name="u", base_url="http://127.0.0.1:9/v1", models=("m", "n"))
    made = Catalog(Settings(upstreams=(upstream,)))
    made._tuned = {TUNED.model: TUNED}
    return made


def spec(*targets: str, fallbacks: tuple[str, ...] = ()) -> RouteSpec:
    return RouteSpec(
        targets=tuple(Target(model=model) for model in targets),
        fallbacks=tuple(Fallback(model=model) for model in fallbacks),
    )


def found(*targets: str, fallbacks: tuple[str, ...] = (), project_id: str | None = None) -> list[Uncallable]:
    return list(uncallable(catalog(), ALIASES, spec(*targets, fallbacks=fallbacks), project_id))


class TestUncallable:
    def test_models_of_the_settings_and_aliases_are_everybodys(self) -> None:
        assert found("m", "short", fallbacks=("n",)) == []
        assert found("m", "short", fallbacks=("n",), project_id="proj_any") == []

    def test_what_does_not_exist_is_named_with_its_place(self) -> None:
        gone = found("m", "gone", fallbacks=("broken",))
        assert gone == [Uncallable("targets[1].model", "gone", None), Uncallable("fallbacks[0].model", "broken", None)]
        assert [each.role for each in gone] == ["target", "fallback"]

    def test_a_fine_tuned_model_is_for_its_project_and_those_it_is_shared_with(self) -> None:
        for name in ("ft:x", "tuned"):
            assert found(name, project_id="proj_own") == []
            assert found(name, project_id="proj_friend") == []
            for project_id in ("proj_other", None):
                assert found(name, project_id=project_id) == [Uncallable("targets[0].model", name, "proj_own")]


class TestRepeated:
    def test_an_alias_is_the_model_it_stands_for(self) -> None:
        assert repeated(catalog(), ALIASES, spec("n", "m", "short")) == ("targets[2].model", "m")
        assert repeated(catalog(), ALIASES, spec("tuned", "ft:x")) == ("targets[1].model", "tuned")

    def test_but_hides_no_model(self) -> None:
        assert repeated(catalog(), ALIASES, spec("m", "gone")) is None


class TestTellOfGaps:
    def test_names_each_and_only_those(self, caplog: pytest.LogCaptureFixture) -> None:
        sound = RouteSettings(name="sound", targets=spec("m", "short").targets)
        typo = RouteSettings(
            name="typo", targets=spec("m", "nn").targets, fallbacks=spec(fallbacks=("ft:x",)).fallbacks
        )
        with caplog.at_level(logging.WARNING):
            tell_of_gaps(catalog(), ALIASES, RouteBook([sound, typo]).configured)
        assert caplog.messages == [
            "route `typo` of the settings: the target `nn` does not exist (yet)",
            "route `typo` of the settings: the fallback `ft:x` belongs to project proj_own alone",
        ]
