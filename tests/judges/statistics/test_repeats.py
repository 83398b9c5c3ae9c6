"""Items answered several times."""

import pytest

from judges.statistics.repeats import steadiness


class TestSteadiness:
    def test_one_of_k_and_all_of_k(self) -> None:
        found = steadiness([[True, True], [True, False], [False, False]], 2)
        assert found.pass_at_k == pytest.approx(2 / 3)
        assert found.pass_all_k == pytest.approx(1 / 3)
        assert found.flip_rate == pytest.approx(1 / 3)

    def test_more_answers_than_k_are_averaged_over_the_draws(self) -> None:
        found = steadiness([[True, False, False, False]], 2)
        assert found.pass_at_k == pytest.approx(0.5)
        assert found.pass_all_k == 0.0

    def test_an_item_with_too_few_answers_is_left_out(self) -> None:
        assert steadiness([[True], [True, True]], 2).items == 1
        assert steadiness([[True]], 2).pass_at_k is None

    def test_k_is_at_least_one(self) -> None:
        with pytest.raises(ValueError, match="1 or more"):
            steadiness([], 0)
