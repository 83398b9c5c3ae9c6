"""Usage x price."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.metering.cost import cost
from gateway.metering.prices import Price
from gateway.metering.usage import Usage

PRICE = Price(input=5_000_000_000, cached_input=500_000_000, output=10_000_000_000)
TOKENS = st.integers(0, 2**31 - 1)
NANO = st.integers(0, 10**14)
"""Up to the largest price that is accepted."""


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    tokens = draw(TOKENS)
    return Usage(tokens, draw(st.integers(0, tokens)), draw(TOKENS))


class TestCost:
    def test_cached_input_is_cheaper(self) -> None:
        assert cost(Usage(12, 4, 4), PRICE).total == 8 * 5_000 + 4 * 500 + 4 * 10_000

    def test_each_part_is_known(self) -> None:
        parts = cost(Usage(12, 4, 4), PRICE)
        assert (parts.input, parts.cached_input, parts.output, parts.request) == (40_000, 2_000, 40_000, 0)

    @given(usages(), st.integers(0, 2**60))
    def test_what_is_above_a_most_goes_from_the_output_first(self, usage: Usage, most: int) -> None:
        whole = cost(usage, PRICE)
        less = whole.at_most(most)
        assert less.total == min(whole.total, most)
        assert less.total == less.input + less.cached_input + less.output + less.request
        assert (less.input, less.cached_input) == (whole.input, whole.cached_input) or less.output == 0

    def test_no_tokens_cost_nothing(self) -> None:
        assert cost(Usage(0, 0, 0), PRICE).total == 0

    def test_a_request_costs_what_it_costs_whatever_its_tokens(self) -> None:
        price = Price(input=5_000_000_000, cached_input=0, output=0, request=7)
        assert cost(Usage(0, 0, 0), price).total == 7
        assert (cost(Usage(2, 0, 0), price).total, cost(Usage(2, 0, 0), price).request) == (10_007, 7)

    @pytest.mark.parametrize(("tokens", "nano"), [(1, 1), (999_999, 1), (1_000_000, 1), (1_000_001, 2)])
    def test_a_part_of_a_nano_dollar_is_rounded_up(self, tokens: int, nano: int) -> None:
        assert cost(Usage(tokens, 0, 0), Price(input=1, cached_input=1, output=1)).total == nano

    def test_is_rounded_once(self) -> None:
        price = Price(input=400_000, cached_input=400_000, output=600_000)
        assert cost(Usage(1, 0, 1), price).total == 1  # 0.4 + 0.6, not 1 + 1

    @given(usages(), NANO, NANO, NANO, NANO)
    def test_is_never_below_the_exact_sum_and_less_than_one_above(
        self, usage: Usage, fresh: int, cached: int, output: int, request: int
    ) -> None:
        price = Price(fresh, cached, output, request)
        tokens = usage.input_tokens - usage.cached_input_tokens, usage.cached_input_tokens, usage.output_tokens
        exact = request + Fraction(
            sum(count * rate for count, rate in zip(tokens, (fresh, cached, output), strict=True)), 10**6
        )
        assert 0 <= cost(usage, price).total - exact < 1

    @given(usages(), NANO, NANO, NANO, NANO)
    def test_the_parts_add_up_and_are_rounded_down(
        self, usage: Usage, fresh: int, cached: int, output: int, request: int
    ) -> None:
        parts = cost(usage, Price(fresh, cached, output, request))
        assert parts.total == parts.input + parts.cached_input + parts.output + parts.request
        assert parts.input == (usage.input_tokens - usage.cached_input_tokens) * fresh // 10**6
        assert parts.cached_input == usage.cached_input_tokens * cached // 10**6
        assert parts.output == usage.output_tokens * output // 10**6
        assert request <= parts.request <= request + 3  # three parts lose less than one each

    @given(usages(), NANO)
    def test_the_dearest_call_fits_a_column(self, usage: Usage, nano: int) -> None:
        assert cost(usage, Price(nano, nano, nano, nano)).total < 2**63
