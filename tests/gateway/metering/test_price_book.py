"""The price book."""

from gateway.db.database import Database
from gateway.db.tables import PriceRow
from gateway.kit.clock import from_unix
from gateway.metering.price_book import PriceBook
from gateway.metering.prices import Price, of_settings
from gateway.settings import PriceSettings

BASE = PriceSettings(model="base", input=5.0, cached_input=0.5, output=10.0)
PLAIN = PriceSettings(model="plain", input=0.0375, output=0.15)
FREE = PriceSettings(model="free", input=0.0, output=0.0)
BOOK = PriceBook([BASE, PLAIN, FREE])
NOON = 1_900_000_000


def made(model: str, since: float, nano: int) -> PriceRow:
    return PriceRow(
        id=f"price_{model}_{since}",
        created_at=from_unix(0),
        model=model,
        effective_at=from_unix(since),
        input_nano=nano,
        output_nano=nano,
        request_nano=0,
    )


async def loaded(database: Database, *rows: PriceRow) -> PriceBook:
    book = PriceBook([BASE, PLAIN])
    async with database.session() as session:
        session.add_all(rows)
    async with database.raw() as connection:
        await book.load(connection)
    return book


class TestFind:
    def test_by_exact_name(self) -> None:
        assert BOOK.find("base") == of_settings(BASE)

    def test_a_tuned_model_costs_what_its_base_costs(self) -> None:
        assert BOOK.find("ft:base:org::x", "base") == of_settings(BASE)

    def test_its_own_price_comes_first(self) -> None:
        assert BOOK.find("plain", "base") == of_settings(PLAIN)

    def test_an_unknown_model_has_no_price(self) -> None:
        assert BOOK.find("other") is None
        assert BOOK.find("ft:other:org::x", "other") is None

    def test_a_free_model_has_a_price(self) -> None:
        assert BOOK.find("free") == Price(0, 0, 0)
        assert BOOK.find("free", "base") == Price(0, 0, 0)

    def test_the_settings_hold_from_the_beginning_of_time(self) -> None:
        assert BOOK.find("base", at=0) == of_settings(BASE)


class TestPricesOfTheApi:
    async def test_one_begins_at_its_moment_and_not_before(self, database: Database) -> None:
        book = await loaded(database, made("base", NOON, 7))
        before, after = book.find("base", at=NOON - 0.000001), book.find("base", at=NOON)
        assert before == of_settings(BASE)
        assert after == Price(7, 7, 7)
        assert book.find("base") == of_settings(BASE), "it begins in the future"

    async def test_the_newest_that_has_begun_counts(self, database: Database) -> None:
        book = await loaded(database, made("base", 30, 3), made("base", 10, 1), made("base", 20, 2))
        found = [book.find("base", at=at) for at in (9.9, 10, 19.9, 20, 29.9, 30, 10**9)]
        assert [price and price.input for price in found] == [5 * 10**9, 1, 1, 2, 2, 3, 3]

    async def test_a_model_without_any_other_price_has_none_before(self, database: Database) -> None:
        book = await loaded(database, made("new", NOON, 7))
        assert book.find("new", at=NOON - 1) is None
        assert book.find("new", at=NOON) == Price(7, 7, 7)

    async def test_a_tuned_model_costs_what_its_base_costs_until_its_own_begins(self, database: Database) -> None:
        book = await loaded(database, made("ft:base:x", NOON, 7), made("base", NOON + 10, 8))
        assert book.find("ft:base:x", "base", NOON - 1) == of_settings(BASE)
        assert book.find("ft:base:x", "base", NOON) == Price(7, 7, 7)
        assert book.find("ft:base:other", "base", NOON + 10) == Price(8, 8, 8)

    async def test_every_column_is_read(self, database: Database) -> None:
        row = made("base", 10, 1)
        row.cached_input_nano, row.output_nano, row.request_nano = 2, 3, 4
        row.training_nano, row.training_hour_nano, row.max_output_tokens = 5, 6, 7
        assert (await loaded(database, row)).find("base") == Price(1, 2, 3, 4, 5, 6, 7)

    async def test_one_that_is_gone_is_forgotten(self, database: Database) -> None:
        book = await loaded(database, made("base", 10, 1))
        async with database.session() as session:
            await session.delete(await session.get_one(PriceRow, "price_base_10"))
        async with database.raw() as connection:
            await book.load(connection)
        assert book.find("base") == of_settings(BASE)
