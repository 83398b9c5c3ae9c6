"""Prices, from the settings."""

import pytest

from gateway.metering.prices import Price, of_settings
from gateway.settings import PriceSettings


class TestOfSettings:
    def test_dollars_become_nano_dollars(self) -> None:
        configured = PriceSettings(model="m", input=5.0, cached_input=0.5, output=10.0)
        assert of_settings(configured) == Price(5_000_000_000, 500_000_000, 10_000_000_000)

    def test_cached_input_costs_like_input_unless_said(self) -> None:
        configured = PriceSettings(model="m", input=0.0375, output=0.15)
        assert of_settings(configured) == Price(37_500_000, 37_500_000, 150_000_000)

    def test_everything_else_that_can_cost(self) -> None:
        configured = PriceSettings(
            model="m", input=0, output=0, per_request=0.001, training=3.0, training_hour=2.5, max_output_tokens=4096
        )
        price = of_settings(configured)
        assert (price.request, price.training, price.training_hour) == (1_000_000, 3_000_000_000, 2_500_000_000)
        assert price.max_output_tokens == 4096

    def test_free_is_not_unknown(self) -> None:
        free = of_settings(PriceSettings(model="m", input=0, output=0, training=0, training_hour=0))
        assert (free.training, free.training_hour) == (0, 0)
        unknown = of_settings(PriceSettings(model="m", input=0, output=0))
        assert (unknown.training, unknown.training_hour, unknown.max_output_tokens) == (None, None, None)

    @pytest.mark.parametrize("usd", [-1.0, float("nan"), float("inf"), 100_001.0, 1e-10])
    @pytest.mark.parametrize("field", ["input", "cached_input", "output", "per_request", "training", "training_hour"])
    def test_what_is_no_price_is_refused(self, field: str, usd: float) -> None:
        fields = {"input": 0.0, "output": 0.0, field: usd}
        with pytest.raises(ValueError, match=r"negative|no number|finer"):
            PriceSettings(model="m", **fields)  # type: ignore[arg-type]
