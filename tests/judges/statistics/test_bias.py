"""What sways a judge beside the answers."""

import numpy as np
import pytest

from judges.statistics.bias import first_position, length_bias


class TestFirstPosition:
    def test_a_judge_that_always_says_first(self) -> None:
        found = first_position([("first", "first")] * 20)
        assert (found.rate, found.consistency) == (1.0, 0.0)
        assert found.biased

    def test_a_judge_that_means_it(self) -> None:
        found = first_position([("first", "second"), ("second", "first")] * 10)
        assert (found.rate, found.consistency) == (0.5, 1.0)
        assert not found.biased

    def test_ties_are_consistent_and_decide_nothing(self) -> None:
        found = first_position([("tie", "tie"), ("tie", "first")])
        assert (found.rate, found.decisive, found.consistency) == (1.0, 1, 0.5)

    def test_without_comparisons_nothing_is_known(self) -> None:
        found = first_position([])
        assert (found.rate, found.consistency, found.biased) == (None, None, False)


class TestLengthBias:
    first, second = np.random.default_rng(3).integers(50, 500, (2, 300)).tolist()

    def test_longer_wins_is_found_and_taken_out(self) -> None:
        won = [float(a > b) for a, b in zip(self.first, self.second, strict=True)]
        found = length_bias(won, self.first, self.second)
        assert found.explains
        assert found.slope is not None
        assert found.slope > 0
        assert found.controlled == pytest.approx(0.5, abs=0.1)

    def test_all_wins_by_length_come_to_a_half_without_it(self) -> None:
        longer = [length + 200 for length in self.second]
        mixed = [*longer[:290], *[length - 20 for length in self.second[290:]]]
        won = [1.0] * 290 + [0.0] * 10
        found = length_bias(won, mixed, self.second)
        assert found.win_rate is not None
        assert found.win_rate > 0.95
        assert found.explains

    def test_a_judge_that_cares_for_something_else_is_not_accused(self) -> None:
        won = (np.random.default_rng(4).random(300) < 0.7).astype(float).tolist()
        found = length_bias(won, self.first, self.second)
        assert not found.explains
        assert found.controlled == pytest.approx(found.win_rate, abs=0.05)

    def test_a_handful_says_nothing(self) -> None:
        found = length_bias([1.0, 0.0, 0.5], [3, 2, 1], [1, 2, 3])
        assert (found.slope, found.win_rate, found.n) == (None, 0.5, 2)
