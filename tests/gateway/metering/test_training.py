"""What a fine-tuning job costs."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from gateway.metering.price_book import PriceBook
from gateway.metering.training import Rates, rates_of, training_cost
from gateway.settings import PriceSettings

NANO = st.none() | st.integers(0, 10**14)
NOON = 1_800_000_000


def rates(*prices: PriceSettings, model: str = "base", usd_per_hour: float | None = None) -> Rates:
    return rates_of(PriceBook(prices), model, "base", NOON, usd_per_hour=usd_per_hour)


def price(model: str, training: float | None = None, training_hour: float | None = None) -> PriceSettings:
    return PriceSettings(model=model, input=1, output=1, training=training, training_hour=training_hour)


class TestRatesOf:
    def test_a_models_own(self) -> None:
        assert rates(price("base", 3, 2.5)) == Rates(3 * 10**9, 2_500_000_000)

    def test_a_tuned_model_costs_what_its_base_costs(self) -> None:
        assert rates(price("base", 3), model="ft:base") == Rates(3 * 10**9, None)

    def test_its_own_come_first(self) -> None:
        assert rates(price("base", 3), price("ft:base", 4), model="ft:base") == Rates(4 * 10**9, None)

    def test_a_price_that_says_nothing_of_training_leaves_it_to_the_base(self) -> None:
        assert rates(price("base", 3), price("ft:base"), model="ft:base") == Rates(3 * 10**9, None)

    def test_an_hour_costs_what_the_settings_say_where_no_price_does(self) -> None:
        assert rates(price("base", 3), usd_per_hour=2.5) == Rates(3 * 10**9, 2_500_000_000)
        assert rates(usd_per_hour=1 / 3) == Rates(None, 333_333_333)
        assert rates(price("base", None, 1), usd_per_hour=2.5) == Rates(None, 10**9)

    def test_unknown_is_not_free(self) -> None:
        assert not rates(price("base")).known
        assert rates(price("base", 0)).known
        assert rates(usd_per_hour=0).known


class TestTrainingCost:
    def test_tokens_and_time(self) -> None:
        cost = training_cost(300, 500, Rates(10**12, 7_200 * 10**9))
        assert (cost.input, cost.request, cost.total) == (300_000_000, 1_000_000_000, 1_300_000_000)

    @given(st.integers(0, 10**12), st.integers(0, 10**12), NANO, NANO)
    def test_is_rounded_up_once_and_its_parts_add_up(
        self, tokens: int, device_ms: int, of_tokens: int | None, hour: int | None
    ) -> None:
        cost = training_cost(tokens, device_ms, Rates(of_tokens, hour))
        exact = Fraction(tokens * (of_tokens or 0), 10**6) + Fraction(device_ms * (hour or 0), 3_600_000)
        assert 0 <= cost.total - exact < 1
        assert cost.input == tokens * (of_tokens or 0) // 10**6
        assert cost.total == cost.input + cost.cached_input + cost.output + cost.request
        assert cost.request >= 0
