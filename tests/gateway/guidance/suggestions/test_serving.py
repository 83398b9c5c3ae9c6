"""Providers that fail, and bounds that refuse."""

from typing import Any

import pytest

from tests.gateway.guidance.materials import called, judged, kinds, only, route


def failing(code: str | None, outcome: str = "failed", **changes: Any) -> list[Any]:
    status = 429 if outcome == "refused" else 502
    return [called(n, outcome=outcome, status=status, code=code, **changes) for n in range(3)]


class TestProviders:
    @pytest.mark.parametrize(
        ("code", "title"),
        [
            ("upstream_timeout", "A provider is too slow"),
            ("rate_limit_exceeded", "A provider limits the rate"),
            ("context_length_exceeded", "Calls are longer than the model takes"),
            ("upstream_failed", "A provider fails"),
            (None, "A provider fails"),
        ],
    )
    def test_by_the_error(self, code: str | None, title: str) -> None:
        [found] = only(called=failing(code)).suggestions
        assert (found.kind, found.title, found.parameters) == ("provider", title, {"model": "m"})

    def test_a_route_without_a_fallback_is_named(self) -> None:
        [found] = only(called=failing("upstream_failed", route="shop@1"), routes=[route(fallbacks=0)]).suggestions
        assert "The route shop has no fallback" in found.do
        [found] = only(called=failing("upstream_failed", route="shop@1"), routes=[route()]).suggestions
        assert "fallback" not in found.do

    def test_who_was_fallen_back_from(self) -> None:
        [found] = only(called=[called(n, failed_model="a", failure="timeout") for n in range(3)]).suggestions
        assert (found.title, found.parameters) == ("A provider is too slow", {"model": "a"})

    def test_nothing_of_an_error_that_is_the_callers(self) -> None:
        assert only(called=failing("invalid_value", "refused")).suggestions == []


class TestBounds:
    def test_a_budget_that_does_not_pay(self) -> None:
        [found] = only(called=failing("insufficient_quota", "refused")).suggestions
        assert found.kind == "budget"

    def test_a_provider_that_is_out_of_quota_is_no_budget_of_ours(self) -> None:
        assert "budget" not in kinds(only(called=failing("insufficient_quota")))

    def test_not_of_answers(self) -> None:
        assert not {"budget", "provider"} & set(kinds(only(judged=[judged(n, passed=False) for n in range(3)])))
