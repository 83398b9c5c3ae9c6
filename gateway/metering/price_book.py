"""Every price, in memory, each from its moment on: a call finds what it costs without a query.

A price that begins in the future lies here before it does, so it takes effect in every process in the same moment,
by the time at which a call came in.
"""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from gateway.db.reading import read
from gateway.metering.prices import Price, of_settings
from gateway.settings import PriceSettings

if TYPE_CHECKING:
    from gateway.db.tables import PriceRow

MIRROR = "prices"
PRICES = """
SELECT model, effective_at, input_nano, cached_input_nano, output_nano, request_nano, training_nano, training_hour_nano,
       max_output_tokens
FROM prices ORDER BY effective_at DESC
"""
ALWAYS = float("-inf")

Periods = list[tuple[float, Price]]
"""(from when: Unix seconds, price) of one model, the newest first."""


class PriceBook:
    """Prices of the settings, plus a mirror of `prices` (gateway/db/mirror.py)."""

    name = MIRROR

    def __init__(self, configured: Iterable[PriceSettings] = ()) -> None:
        self._configured = {each.model: of_settings(each) for each in configured}
        self._periods = self._all({})

    def find(self, model: str, base_model: str | None = None, at: float | None = None) -> Price | None:
        """The price of `model`, else of the base it was tuned from, else None: never a silent zero.

        Args:
            at: when the call came in (Unix seconds); now when left out.
        """
        moment = time.time() if at is None else at
        for since, price in self._periods.get(model, ()):
            if since <= moment:
                return price
        return self.find(base_model, None, moment) if base_model else None

    async def load(self, connection: Any) -> None:
        made: dict[str, Periods] = {}
        for row in await read(connection, PRICES):
            made.setdefault(row.model, []).append((row.effective_at.timestamp(), of_row(row)))
        self._periods = self._all(made)

    def _all(self, made: dict[str, Periods]) -> dict[str, Periods]:
        """What stands in the settings holds until the first price that was made through the API."""
        periods = {model: [*each] for model, each in made.items()}
        for model, price in self._configured.items():
            periods.setdefault(model, []).append((ALWAYS, price))
        return periods


def of_row(row: "PriceRow") -> Price:
    return Price(
        input=row.input_nano,
        cached_input=row.input_nano if row.cached_input_nano is None else row.cached_input_nano,
        output=row.output_nano,
        request=row.request_nano,
        training=row.training_nano,
        training_hour=row.training_hour_nano,
        max_output_tokens=row.max_output_tokens,
    )
