"""What a fine-tuning job costs: its trained tokens and its time on devices."""

import msgspec

from gateway.kit.money import NANO
from gateway.metering.cost import Cost
from gateway.metering.price_book import PriceBook
from gateway.metering.prices import MILLION

HOUR_MS = 3_600_000


class Rates(msgspec.Struct, frozen=True):
    """Nano-dollars; None: that costs nothing. Both None: nobody has said what a training costs."""

    tokens: int | None
    """Per 1M trained tokens."""
    hour: int | None
    """Per hour of one device."""

    @property
    def known(self) -> bool:
        return self.tokens is not None or self.hour is not None


def rates_of(book: PriceBook, model: str, base_model: str, at: float, *, usd_per_hour: float | None) -> Rates:
    """What training `model` costs: by its own price if that says it, else by its base's.

    Args:
        at: when the training began (Unix seconds).
        usd_per_hour: of a device, where no price says it ([fine_tuning] of the settings).
    """
    found = (book.find(name, None, at) for name in (model, base_model))
    told = (price for price in found if price and (price.training is not None or price.training_hour is not None))
    price = next(told, None)
    hour = price.training_hour if price else None
    if hour is None and usd_per_hour is not None:
        hour = round(usd_per_hour * NANO)
    return Rates(price.training if price else None, hour)


def training_cost(tokens: int, device_ms: int, rates: Rates) -> Cost:
    """Rounded up once, as every cost (gateway/metering/cost.py).

    Args:
        device_ms: milliseconds times devices.
    """
    of_tokens, of_time = tokens * (rates.tokens or 0), device_ms * (rates.hour or 0)
    total = -(-(of_tokens * HOUR_MS + of_time * MILLION) // (HOUR_MS * MILLION))
    whole = of_tokens // MILLION
    return Cost(total, whole, 0, 0, total - whole)
