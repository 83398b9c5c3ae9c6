"""What tokens cost, per model."""

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.kit.money import nano_from_usd
from gateway.settings import PriceSettings

MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """Nano-dollars per 1M tokens: an integer for every price that a person writes."""

    input: int
    cached_input: int
    output: int


class PriceBook:
    """Prices by model name, from the settings."""

    def __init__(self, prices: Iterable[PriceSettings]) -> None:
        self._prices = {price.model: _price(price) for price in prices}

    def find(self, model: str, base_model: str | None = None) -> Price | None:
        """The price of `model`, else of the base it was tuned from, else None: never a silent zero."""
        return self._prices.get(model) or (self._prices.get(base_model) if base_model else None)


def _price(price: PriceSettings) -> Price:
    cached = price.input if price.cached_input is None else price.cached_input
    return Price(nano_from_usd(price.input), nano_from_usd(cached), nano_from_usd(price.output))
