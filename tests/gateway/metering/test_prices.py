"""The price book."""

from gateway.metering.prices import Price, PriceBook
from gateway.settings import PriceSettings

BOOK = PriceBook(
    [
        PriceSettings(model="base", input=5.0, cached_input=0.5, output=10.0),
        PriceSettings(model="plain", input=0.0375, output=0.15),
        PriceSettings(model="free", input=0.0, output=0.0),
    ]
)


class TestFind:
    def test_by_exact_name(self) -> None:
        assert BOOK.find("base") == Price(5_000_000_000, 500_000_000, 10_000_000_000)

    def test_cached_input_costs_like_input_unless_said(self) -> None:
        assert BOOK.find("plain") == Price(37_500_000, 37_500_000, 150_000_000)

    def test_a_tuned_model_costs_what_its_base_costs(self) -> None:
        assert BOOK.find("ft:base:org::x", "base") == BOOK.find("base")

    def test_its_own_price_comes_first(self) -> None:
        assert BOOK.find("plain", "base") == BOOK.find("plain")

    def test_an_unknown_model_has_no_price(self) -> None:
        assert BOOK.find("other") is None
        assert BOOK.find("ft:other:org::x", "other") is None

    def test_a_free_model_has_a_price(self) -> None:
        assert BOOK.find("free") == Price(0, 0, 0)
