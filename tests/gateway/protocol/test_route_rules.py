"""What a route must keep to, whoever writes it."""

import math
from typing import Any

import msgspec
import pytest

from gateway.errors import InvalidRequest
from gateway.protocol.route_rules import check_name, check_spec, faults, name_fault
from gateway.protocol.routes import RouteSpec

CHECK: dict[str, Any] = {"name": "form", "rules": [{"type": "json"}]}
SOUND: dict[str, Any] = {
    "targets": [{"model": "a", "weight": 9}, {"model": "b", "weight": 0}],
    "fallbacks": [{"model": "c", "on": ["context_length"]}, {"model": "a"}],
    "sticky": "metadata.session",
    "balance": "least_load",
    "retries": {"count": 0, "backoff_ms": 0, "max_backoff_ms": 0},
    "timeouts": {"connect": 0.5, "total": 86_400},
    "breaker": {"failures": 0, "open_seconds": 0.1},
    "hedge": {"after_ms": 1},
    "checks": [CHECK, {"name": "house", "judge": "house", "mode": "block", "timeout_ms": 10}],
}


def spec(**changed: Any) -> RouteSpec:
    return msgspec.convert(SOUND | changed, RouteSpec)


def targets(*weights: float) -> list[dict[str, Any]]:
    return [{"model": f"m{place}", "weight": weight} for place, weight in enumerate(weights)]


class TestFaults:
    def test_a_sound_spec_has_none(self) -> None:
        assert list(faults(spec())) == []
        assert list(faults(msgspec.convert({"targets": [{"model": "m"}]}, RouteSpec))) == []

    @pytest.mark.parametrize(
        ("changed", "path", "rule"),
        [
            ({"targets": []}, "targets", "1 to 50 targets, not 0"),
            ({"targets": targets(*[1] * 51)}, "targets", "1 to 50 targets, not 51"),
            ({"targets": targets(0, 0)}, "targets", "all weights are 0"),
            ({"targets": targets(1, -0.5)}, "targets[1].weight", "from 0 to 1000000000, not -0.5"),
            ({"targets": targets(math.nan)}, "targets[0].weight", "not nan"),
            ({"targets": targets(math.inf)}, "targets[0].weight", "not inf"),
            ({"targets": targets(1.1e9)}, "targets[0].weight", "from 0 to 1000000000"),
            ({"targets": [{"model": "a"}, {"model": "a"}]}, "targets[1].model", "`a` is there already, at targets[0]"),
            ({"targets": [{"model": ""}]}, "targets[0].model", "has a name"),
            ({"fallbacks": [{"model": f"m{n}"} for n in range(21)]}, "fallbacks", "at most 20 fallbacks, not 21"),
            ({"fallbacks": [{"model": "c"}, {"model": "c"}]}, "fallbacks[1].model", "put its conditions together"),
            ({"fallbacks": [{"model": "c", "on": []}]}, "fallbacks[0].on", "never answers"),
            ({"sticky": "key"}, "sticky", "`user`, `conversation` or `metadata.KEY`"),
            ({"sticky": ""}, "sticky", "`user`, `conversation` or `metadata.KEY`"),
            ({"sticky": "user.name"}, "sticky", "metadata.KEY"),
            ({"sticky": "metadata"}, "sticky", "metadata.KEY"),
            ({"sticky": "metadata."}, "sticky", "metadata.KEY"),
            ({"sticky": "metadata." + "k" * 65}, "sticky", "at most 64"),
            ({"retries": {"count": -1}}, "retries.count", "0 to 10, not -1"),
            ({"retries": {"count": 11}}, "retries.count", "0 to 10, not 11"),
            ({"retries": {"backoff_ms": -1}}, "retries.backoff_ms", "not -1"),
            ({"retries": {"backoff_ms": 200, "max_backoff_ms": 199}}, "retries.max_backoff_ms", "at least backoff_ms"),
            ({"retries": {"max_backoff_ms": 600_001}}, "retries.max_backoff_ms", "at most 600000"),
            ({"timeouts": {"idle": 0}}, "timeouts.idle", "more than 0 and at most 86400 seconds, not 0.0"),
            ({"timeouts": {"first_token": math.nan}}, "timeouts.first_token", "not nan"),
            ({"timeouts": {"connect": 86_401}}, "timeouts.connect", "at most 86400"),
            ({"fallbacks": [{"model": "c", "on": ["timeout", "timeout"]}]}, "fallbacks[0].on", "twice"),
            ({"breaker": {"failures": -1}}, "breaker.failures", "not -1"),
            ({"breaker": {"failures": 10**30}}, "breaker.failures", "0 (never) to 1000000"),
            ({"breaker": {"open_seconds": 0}}, "breaker.open_seconds", "more than 0"),
            ({"hedge": {"after_ms": 0}}, "hedge.after_ms", "not 0"),
            ({"checks": [{"name": f"c{n}", "rules": [{}]} for n in range(11)]}, "checks", "at most 10 checks, not 11"),
            ({"checks": [CHECK, CHECK]}, "checks[1].name", "`form` is there already"),
            ({"checks": [CHECK | {"name": "a" * 49}]}, "checks[0].name", "1 to 48"),
            ({"checks": [CHECK | {"rules": []}]}, "checks[0].rules", "not 0"),
            ({"checks": [CHECK | {"rules": [{}] * 31}]}, "checks[0].rules", "not 31"),
            ({"checks": [CHECK | {"timeout_ms": 10_001}]}, "checks[0].timeout_ms", "10 to 10000"),
            ({"targets": [{"model": "a"}], "fallbacks": []}, "hedge", "a second model"),
            ({"targets": [{"model": "a"}], "fallbacks": [{"model": "a"}]}, "hedge", "a second model"),
        ],
    )
    def test_each_names_its_path(self, changed: dict[str, Any], path: str, rule: str) -> None:
        found = dict(faults(spec(**changed)))
        assert list(found) == [path]
        assert rule in found[path]

    def test_all_are_told(self) -> None:
        found = [path for path, _ in faults(spec(targets=targets(-1, -2), sticky="x", breaker={"failures": -1}))]
        assert found == ["targets[0].weight", "targets[1].weight", "sticky", "breaker.failures"]


class TestNameFault:
    @pytest.mark.parametrize("name", ["a", "support-bot", "org/model:v1", "模型", "é", "x" * 256, "aft:x"])
    def test_visible_characters_are_fine(self, name: str) -> None:
        assert name_fault(name) is None

    @pytest.mark.parametrize(
        "name",
        [
            "",
            "x" * 257,
            "a b",
            " a",
            "a\n",
            "a\x00",
            "a\u200b",
            "a\u00a0b",
            "a\u202eb",
            "\ud800",
            "ft:x",
            "ft:",
            "active",
        ],
    )
    def test_others_are_not(self, name: str) -> None:
        assert name_fault(name)


class TestChecks:
    def test_raise_the_first_fault_with_its_path(self) -> None:
        with pytest.raises(InvalidRequest) as raised:
            check_spec(spec(targets=[], sticky="x"))
        assert raised.value.param == "targets"
        assert str(raised.value) == "Invalid 'targets': a route has 1 to 50 targets, not 0."
        with pytest.raises(InvalidRequest) as raised:
            check_name("ft:x")
        assert raised.value.param == "name"
        check_spec(spec())
        check_name("x")
