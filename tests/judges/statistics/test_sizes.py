"""How many samples a comparison needs: known answers."""

import pytest

from judges.statistics.sizes import paired_mean, two_rates, win_rate


class TestSizes:
    @pytest.mark.parametrize(("before", "after", "n"), [(0.8, 0.85, 903), (0.6, 0.65, 1468), (0.5, 0.6, 385)])
    def test_two_rates(self, before: float, after: float, n: int) -> None:
        assert two_rates(before, after) == n
        assert two_rates(after, before) == n

    @pytest.mark.parametrize(("share", "n"), [(0.55, 783), (0.6, 194), (0.4, 194)])
    def test_win_rate(self, share: float, n: int) -> None:
        assert win_rate(share) == n

    def test_paired_mean_shrinks_with_the_square_of_the_effect(self) -> None:
        assert paired_mean(0.1, 0.5) == 197
        assert paired_mean(0.2, 0.5) == 50

    def test_no_effect_has_no_size(self) -> None:
        for call in (lambda: two_rates(0.5, 0.5), lambda: win_rate(0.5), lambda: paired_mean(0, 1)):
            with pytest.raises(ValueError, match="no size"):
                call()
