import pytest

from gateway.evals import sizes
from judges.statistics.sizes import paired_mean, two_rates


class TestUnpaired:
    @pytest.mark.parametrize(("before", "after", "n"), [(0.8, 0.85, 903), (0.6, 0.65, 1468), (0.5, 0.6, 385)])
    def test_known_answers(self, before: float, after: float, n: int) -> None:
        assert sizes.unpaired(before, after) == n == two_rates(before, after)


class TestPaired:
    def test_is_the_size_of_a_paired_mean(self) -> None:
        changed = 0.8 * 0.15 + 0.85 * 0.2
        assert sizes.paired(0.8, 0.85, independent=True) == paired_mean(0.05, (changed - 0.05**2) ** 0.5)

    def test_needs_fewer_the_more_the_runs_agree(self) -> None:
        least, most = (sizes.paired(0.8, 0.85, independent=independent) for independent in (False, True))
        assert least < most <= 2 * sizes.unpaired(0.8, 0.85)

    def test_a_change_of_everything(self) -> None:
        assert sizes.paired(0.0, 1.0, independent=True) == 2
