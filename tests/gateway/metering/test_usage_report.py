"""Sums over the log, and line items that add up to them."""

import random
from typing import Any

import pytest

from gateway.db.database import Database
from gateway.db.tables import ExchangeRow
from gateway.kit.clock import from_unix
from gateway.metering.cost import cost as cost_of
from gateway.metering.prices import Price
from gateway.metering.time_buckets import Buckets
from gateway.metering.usage import Usage
from gateway.metering.usage_report import CostSum, Filters, cost_sums, line_items, split, token_sums
from tests.gateway.exchanges.records import PLAIN

MIDNIGHT = 1_795_219_200
DAY = 86_400
PRICE = Price(input=5_000_000_000, cached_input=500_000_000, output=10_000_000_000)


def summed(cost: int, *, input: int = 12, cached: int = 4, output: int = 4, priced: bool = True) -> CostSum:
    return CostSum(
        bucket=MIDNIGHT, requests=1, input_tokens=input, cached_input_tokens=cached, output_tokens=output, model="m",
        base_model=None, priced=priced, cost_nano=cost,
    )  # fmt: skip


def shown(cost: CostSum, price: Price | None = PRICE) -> list[tuple[str, int, int]]:
    return [(item.name, item.nano, item.tokens) for item in line_items(cost, lambda *_: price)]


class TestLineItems:
    def test_are_input_cached_input_and_output(self) -> None:
        assert shown(summed(82_000)) == [
            ("m, input", 40_000, 8),
            ("m, cached input", 2_000, 4),
            ("m, output", 40_000, 4),
        ]

    def test_without_cached_tokens_there_is_no_item_for_them(self) -> None:
        assert [name for name, _, _ in shown(summed(100_000, cached=0))] == ["m, input", "m, output"]

    def test_what_was_rounded_up_goes_to_the_largest(self) -> None:
        assert shown(summed(82_001)) == [
            ("m, input", 40_001, 8),
            ("m, cached input", 2_000, 4),
            ("m, output", 40_000, 4),
        ]

    def test_after_a_price_change_the_total_stays(self) -> None:
        items = shown(summed(82_000), Price(input=1, cached_input=1, output=1_000_000))
        assert sum(nano for _, nano, _ in items) == 82_000

    @pytest.mark.parametrize("price", [None, Price(0, 0, 0)])
    def test_without_a_price_today_tokens_decide(self, price: Price | None) -> None:
        assert [nano for _, nano, _ in shown(summed(160), price)] == [80, 40, 40]

    def test_no_tokens_and_no_cost_are_two_empty_items(self) -> None:
        assert shown(summed(0, input=0, cached=0, output=0)) == [("m, input", 0, 0), ("m, output", 0, 0)]

    def test_always_add_up(self) -> None:
        random.seed(7)
        for _ in range(500):
            usages = [Usage(random.randint(0, 10**6), 0, random.randint(0, 10**6)) for _ in range(random.randint(1, 9))]
            price = Price(random.randint(0, 10**11), random.randint(0, 10**10), random.randint(0, 10**11))
            cost = sum(cost_of(usage, price).total for usage in usages)
            total = summed(
                cost, input=sum(each.input_tokens for each in usages), cached=0,
                output=sum(each.output_tokens for each in usages),
            )  # fmt: skip
            items = shown(total, price)
            assert sum(nano for _, nano, _ in items) == cost
            exact = total.input_tokens * price.input / 10**6
            assert abs(items[0][1] - exact) <= len(usages) + exact * 1e-9

    def test_split_gives_everything_to_the_first_without_weights(self) -> None:
        assert split(7, {"a": 0, "b": 0}) == {"a": 7, "b": 0}


async def add(database: Database, *rows: dict[str, Any]) -> None:
    async with database.session() as session:
        for number, changes in enumerate(rows):
            columns = ExchangeRow.__table__.columns.keys()
            values = {name: getattr(PLAIN, name) for name in PLAIN.__struct_fields__ if name in columns} | changes
            values["created_at"] = from_unix(values["created_at"])
            session.add(ExchangeRow(**values | {"id": f"req_{number:03}"}))


@pytest.mark.anyio
class TestSums:
    async def test_group_by_bucket_in_utc(self, database: Database) -> None:
        edges = (MIDNIGHT - 0.001, MIDNIGHT, MIDNIGHT + DAY - 0.001, MIDNIGHT + DAY)
        await add(database, *({"created_at": moment} for moment in edges))
        async with database.session() as session:
            sums = await token_sums(session, Buckets(MIDNIGHT - DAY, MIDNIGHT + 2 * DAY, DAY), [], Filters())
        assert [(each.bucket, each.requests, each.input_tokens) for each in sums] == [
            (MIDNIGHT - DAY, 1, 12),
            (MIDNIGHT, 2, 24),
            (MIDNIGHT + DAY, 1, 12),
        ]

    async def test_the_start_counts_and_the_end_does_not(self, database: Database) -> None:
        await add(database, *({"created_at": MIDNIGHT + second} for second in range(5)))
        async with database.session() as session:
            (only,) = await token_sums(session, Buckets(MIDNIGHT + 1, MIDNIGHT + 3, DAY), [], Filters())
        assert only.requests == 2

    async def test_group_by_what_is_asked(self, database: Database) -> None:
        await add(
            database,
            {"project_id": "a", "served_model": "x"},
            {"project_id": "a", "served_model": "y"},
            {"project_id": "b", "served_model": "x", "api_key_id": "key_2"},
        )
        async with database.session() as session:
            day = Buckets(MIDNIGHT, MIDNIGHT + DAY, DAY)
            by_project = await token_sums(session, day, ["project_id"], Filters())
            by_both = await token_sums(session, day, ["model", "project_id"], Filters())
            by_key = await token_sums(session, day, ["api_key_id"], Filters())
        assert [(each.project_id, each.model, each.requests) for each in by_project] == [("a", None, 2), ("b", None, 1)]
        assert [(each.model, each.project_id) for each in by_both] == [("x", "a"), ("x", "b"), ("y", "a")]
        assert [each.api_key_id for each in by_key] == ["key_1", "key_2"]

    async def test_filter(self, database: Database) -> None:
        await add(
            database, {"project_id": "a"}, {"api_key_id": "b"}, {"served_model": "c"}, {"endpoint": "/embeddings"}
        )
        async with database.session() as session:
            day = Buckets(MIDNIGHT, MIDNIGHT + DAY, DAY)
            for filters in (
                Filters(project_ids=["a", "x"]),
                Filters(api_key_ids=["b"]),
                Filters(models=["c"]),
                Filters(endpoints=["/embeddings"]),
            ):
                (only,) = await token_sums(session, day, [], filters)
                assert only.requests == 1
            assert await token_sums(session, day, [], Filters(project_ids=["a"], models=["c"])) == []

    async def test_count_what_reached_an_upstream(self, database: Database) -> None:
        await add(
            database,
            {},
            {"outcome": "client_left"},
            {"outcome": "failed", "usage_estimated": True},
            {
                "outcome": "refused",
                "input_tokens": None,
                "output_tokens": None,
                "cost_nano": None,
                "served_model": None,
            },
        )
        async with database.session() as session:
            (only,) = await token_sums(session, Buckets(MIDNIGHT, MIDNIGHT + DAY, DAY), [], Filters())
        assert only.requests == 3

    async def test_costs_are_exact_and_show_what_has_no_price(self, database: Database) -> None:
        await add(
            database,
            {"cost_nano": 2**62},
            {"cost_nano": 2**62 + 1},
            {"cost_nano": 2**62 + 1},
            {"cost_nano": None, "priced": False},
        )
        async with database.session() as session:
            sums = await cost_sums(session, Buckets(MIDNIGHT, MIDNIGHT + DAY, DAY), [], Filters())
        assert {each.priced: (each.requests, each.cost_nano) for each in sums} == {
            False: (1, 0),
            True: (3, 3 * 2**62 + 2),
        }
