"""Two systems on the same items."""

import pytest

from judges.statistics.paired import bootstrap, mcnemar, mcnemar_of

X = [1.0, 1, 0, 0, 1, 0, 1, 1, 0, 1]
Y = [1.0, 0, 0, 0, 1, 0, 0, 1, 0, 1]


class TestMcNemar:
    @pytest.mark.parametrize(
        ("counts", "exact", "p"),
        [
            ((9, 2), True, 0.06543),
            ((9, 2), False, 0.07044),
            ((30, 10), True, 0.002221),
            ((6, 0), True, 0.03125),
            ((20, 20), True, 1.0),
        ],
    )
    def test_known_answers(self, counts: tuple[int, int], exact: bool, p: float) -> None:
        assert mcnemar(*counts, exact=exact).p == pytest.approx(p, abs=1e-5)

    def test_is_exact_for_few(self) -> None:
        assert mcnemar(20, 4).exact
        assert not mcnemar(20, 5).exact

    def test_nothing_discordant_is_no_difference(self) -> None:
        assert mcnemar(0, 0).p == 1.0

    def test_counts_what_only_one_passed(self) -> None:
        found = mcnemar_of([True, True, False, True], [True, False, True, False])
        assert (found.first_only, found.second_only) == (2, 1)


class TestBootstrap:
    def test_known_answer(self) -> None:
        found = bootstrap(X, Y)
        assert (found.value, found.low, found.high) == (pytest.approx(0.2), 0.0, pytest.approx(0.6))

    def test_repeats_of_cases_narrow_nothing(self) -> None:
        once = bootstrap(X, Y)
        copied = bootstrap(X * 10, Y * 10, [str(place) for place in range(10)] * 10)
        assert (copied.low, copied.high) == pytest.approx((once.low, once.high))
        assert (copied.n, copied.clusters) == (100, 10)
        pretended = bootstrap(X * 10, Y * 10)
        assert pretended.high < once.high  # type: ignore[operator]

    def test_a_constant_difference_is_its_own_interval(self) -> None:
        found = bootstrap([0.5, 0.7, 0.9], [0.4, 0.6, 0.8])
        assert (found.low, found.high) == pytest.approx((0.1, 0.1))

    def test_one_cluster_has_no_interval(self) -> None:
        assert bootstrap([1.0, 0.0], [0.0, 0.0], ["a", "a"]).low is None

    def test_nothing_is_none(self) -> None:
        assert bootstrap([], []).value is None

    def test_unequal_numbers_are_refused(self) -> None:
        with pytest.raises(ValueError, match="1 values against 2"):
            bootstrap([1.0], [1.0, 2.0])
