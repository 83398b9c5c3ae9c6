"""Usage x price."""

from fractions import Fraction

import pytest

from gateway.metering.cost import cost_nano
from gateway.metering.prices import Price
from gateway.metering.usage import Usage

PRICE = Price(input=5_000_000_000, cached_input=500_000_000, output=10_000_000_000)


class TestCost:
    def test_cached_input_is_cheaper(self) -> None:
        assert cost_nano(Usage(12, 4, 4), PRICE) == 8 * 5_000 + 4 * 500 + 4 * 10_000

    def test_no_tokens_cost_nothing(self) -> None:
        assert cost_nano(Usage(0, 0, 0), PRICE) == 0

    @pytest.mark.parametrize(("tokens", "nano"), [(1, 1), (999_999, 1), (1_000_000, 1), (1_000_001, 2)])
    def test_a_part_of_a_nano_dollar_is_rounded_up(self, tokens: int, nano: int) -> None:
        assert cost_nano(Usage(tokens, 0, 0), Price(input=1, cached_input=1, output=1)) == nano

    def test_is_rounded_once(self) -> None:
        price = Price(input=400_000, cached_input=400_000, output=600_000)
        assert cost_nano(Usage(1, 0, 1), price) == 1  # 0.4 + 0.6, not 1 + 1

    def test_is_never_below_the_exact_sum_and_less_than_one_above(self) -> None:
        for tokens in range(200):
            usage = Usage(tokens * 7, tokens * 3, tokens * 11)
            price = Price(input=37_500_001, cached_input=1_875_003, output=150_000_007)
            exact = Fraction(tokens * (4 * price.input + 3 * price.cached_input + 11 * price.output), 1_000_000)
            assert 0 <= cost_nano(usage, price) - exact < 1
