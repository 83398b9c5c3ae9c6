"""Shares of the traffic, and differences with known intervals."""

from typing import Any

import pytest

from admin.console.routing.split import difference, shares, with_share


def targets(**weights: float) -> list[dict[str, Any]]:
    return [{"model": model, "weight": weight} for model, weight in weights.items()]


class TestWithShare:
    def test_the_others_share_the_rest_as_they_did(self) -> None:
        found = with_share(targets(a=3, b=1, c=4), "c", 20)
        assert {each["model"]: each["weight"] for each in found} == {"a": 60, "b": 20, "c": 20}
        assert [each["model"] for each in found] == ["a", "b", "c"]

    def test_a_new_candidate_becomes_a_target(self) -> None:
        assert with_share(targets(a=1), "b", 10) == targets(a=90, b=10)

    def test_everything_and_nothing(self) -> None:
        assert with_share(targets(a=1, b=1), "b", 100) == targets(a=0, b=100)
        assert with_share(targets(a=0, b=1), "b", 0) == targets(a=100, b=0)

    def test_alone_it_has_everything(self) -> None:
        assert with_share(targets(a=5), "a", 10) == targets(a=100)

    def test_shares_are_percents(self) -> None:
        assert shares(targets(a=1, b=3)) == [25, 75]
        assert shares(targets(a=0)) == [0]


def served(succeeded: int, failed: int) -> dict[str, Any]:
    n, z = succeeded + failed, 1.959964
    p = succeeded / n
    centre, scale = p + z * z / (2 * n), 1 + z * z / n
    margin = z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    success = {"value": p, "low": (centre - margin) / scale, "high": (centre + margin) / scale}
    return {"succeeded": succeeded, "failed": failed, "success": success}


class TestDifference:
    def test_is_newcombes_interval(self) -> None:
        """Newcombe 1998, table II, method 10: 56 of 70 against 48 of 80 is 0.2, from 0.0524 to 0.3339."""
        found = difference(served(56, 14), served(48, 32))
        assert found is not None
        assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=1e-4)
        assert "succeeds more" in found.verdict

    def test_the_other_way_round(self) -> None:
        found = difference(served(48, 32), served(56, 14))
        assert found is not None
        assert "fails more" in found.verdict

    def test_few_calls_say_nothing(self) -> None:
        found = difference(served(10, 0), served(0, 10))
        assert found is not None
        assert "Too few" in found.verdict

    def test_no_difference_that_is_sure(self) -> None:
        found = difference(served(90, 10), served(91, 9))
        assert found is not None
        assert "No difference" in found.verdict

    def test_without_calls_there_is_none(self) -> None:
        assert difference(None, served(1, 1)) is None
