"""Known answers (research of statistics, docs/statistics.md)."""

import pytest

from gateway.guidance.shares import among, change, proportion


class TestProportion:
    @pytest.mark.parametrize(
        ("n", "of", "low", "high"),
        [(8, 10, 0.49016, 0.94332), (0, 20, 0.0, 0.16113), (60, 100, 0.50200, 0.69060), (0, 0, 0.0, 1.0)],
    )
    def test_wilson(self, n: int, of: int, low: float, high: float) -> None:
        found = proportion(n, of)
        assert (found.low, found.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


class TestChange:
    def test_newcombe(self) -> None:
        """Newcombe 1998, table II, method 10: 56/70 against 48/80 is 0.0524 to 0.3339."""
        found = change(0, (48, 80), (56, 70))
        assert found.difference == pytest.approx(0.2)
        assert (found.low, found.high) == (pytest.approx(0.0524, abs=1e-4), pytest.approx(0.3339, abs=1e-4))

    def test_more_looks_want_more(self) -> None:
        one, of_many = (change(0, (5, 50), (14, 50), among(looks)) for looks in (1, 20))
        assert one.low > 0 > of_many.low
        assert one.before == of_many.before
