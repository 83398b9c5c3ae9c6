"""Sums that are exact whatever is asked, and which table answers which part of it."""

import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pytest

from gateway.db.database import Database
from gateway.db.tables import LedgerRow, ProjectDayRow, ProjectHourRow, UsageDayRow, UsageHourRow
from gateway.metering.time_buckets import Buckets
from gateway.metering.usage_report import Filters, cost_sums, itemised_sums, pieces, usage_sums
from tests.gateway.metering.ledger_rows import DAY, HOUR, MIDNIGHT, charge, post

MINUTE = 60
COUNTS = ("input_tokens", "cached_input_tokens", "output_tokens")
MONEY = ("cost_nano", "input_nano", "cached_input_nano", "output_nano", "request_nano")
CHOICES: dict[str, Sequence[Any]] = {
    "project_id": ("proj_1", "proj_2"), "api_key_id": ("key_1", "key_2", "key_3"), "user_id": ("", "user_1"),
    "model": ("m", "n"), "batch": (False, True), "endpoint": ("/chat/completions", "/completions", "/embeddings"),
    "kind": ("call", "training"), "priced": (True, True, False),
}  # fmt: skip


def shown(start: int, end: int, width: int) -> list[tuple[Any, int, int]]:
    """Seconds from midnight."""
    found = pieces(Buckets(MIDNIGHT + start, MIDNIGHT + end, width), per_key=True)
    return [(each.rows, each.start - MIDNIGHT, each.end - MIDNIGHT) for each in found]


class TestPieces:
    def test_whole_days_are_answered_by_days(self) -> None:
        assert shown(0, 3 * DAY, DAY) == [(UsageDayRow, 0, 3 * DAY)]

    def test_ragged_ends_by_hours_and_what_is_left_by_the_ledger(self) -> None:
        start, end = DAY - 2 * HOUR - 5, 3 * DAY + HOUR + 7
        assert shown(start, end, DAY) == [
            (LedgerRow, start, DAY - 2 * HOUR),
            (UsageHourRow, DAY - 2 * HOUR, DAY),
            (UsageDayRow, DAY, 3 * DAY),
            (UsageHourRow, 3 * DAY, 3 * DAY + HOUR),
            (LedgerRow, 3 * DAY + HOUR, end),
        ]

    def test_no_rollup_is_wider_than_a_bucket(self) -> None:
        assert shown(0, 3 * DAY, HOUR) == [(UsageHourRow, 0, 3 * DAY)]
        assert shown(0, 3 * HOUR, MINUTE) == [(LedgerRow, 0, 3 * HOUR)]

    def test_without_keys_there_are_smaller_rollups(self) -> None:
        found = pieces(Buckets(MIDNIGHT - HOUR, MIDNIGHT + DAY, DAY), per_key=False)
        assert [each.rows for each in found] == [ProjectHourRow, ProjectDayRow]

    @pytest.mark.parametrize("width", [MINUTE, HOUR, DAY])
    def test_within_an_hour_there_is_the_ledger_alone(self, width: int) -> None:
        assert shown(HOUR + 1, 2 * HOUR - 1, width) == [(LedgerRow, HOUR + 1, 2 * HOUR - 1)]
        assert shown(HOUR - 1, HOUR + 1, width) == [(LedgerRow, HOUR - 1, HOUR + 1)]

    def test_cover_every_range_once(self) -> None:
        chance = random.Random(5)
        for _ in range(500):
            start = chance.randrange(3 * DAY)
            end = start + chance.choice((1, 59, HOUR, chance.randrange(1, 4 * DAY)))
            found = shown(start, end, chance.choice((MINUTE, HOUR, DAY)))
            assert [found[0][1], *(each[2] for each in found)] == [*(each[1] for each in found), end]
            for rows, first, last in found:
                unit = {UsageDayRow: DAY, UsageHourRow: HOUR, LedgerRow: 1}[rows]
                assert first < last
                assert (first % unit, last % unit) == (0, 0)


def random_rows(chance: random.Random, count: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for number in range(count):
        moment = MIDNIGHT + chance.choice(
            (chance.uniform(0, 3 * DAY), chance.randrange(72) * HOUR, chance.randrange(72) * HOUR - 0.000_001)
        )
        nano = {name: chance.randrange(10**12) for name in MONEY if name != "cost_nano"}
        tokens = {name: chance.randrange(10**6) for name in COUNTS}
        names = {name: chance.choice(values) for name, values in CHOICES.items()}
        rows.append(charge(f"{number:04}", created_at=moment, **names, **tokens, **nano))
    return rows


def random_query(chance: random.Random) -> tuple[Buckets, list[str], Filters]:
    width = chance.choice((MINUTE, HOUR, DAY))
    unit = chance.choice((1, MINUTE, HOUR, DAY))
    edges = sorted((chance.randrange(-DAY, 4 * DAY) // unit * unit, chance.randrange(-DAY, 4 * DAY)))
    if edges[0] == edges[1]:
        edges[1] += unit
    groups: list[str] = chance.sample(
        ("project_id", "user_id", "api_key_id", "model", "batch", "kind"), chance.randrange(4)
    )
    picked = {
        f"{name}s": chance.sample(CHOICES[name], chance.randrange(1, len(CHOICES[name])))
        for name in ("project_id", "api_key_id", "user_id", "model", "endpoint")
        if chance.random() < 0.25
    }
    batch = chance.choice((None, None, True, False))
    return Buckets(MIDNIGHT + edges[0], MIDNIGHT + edges[1], width), groups, Filters(**picked, batch=batch)


def brute_force(rows: list[dict[str, Any]], buckets: Buckets, groups: list[str], filters: Filters) -> dict[Any, Any]:
    """One row after the other."""
    sums: dict[Any, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    lists = {"project_id", "api_key_id", "user_id", "model", "endpoint"}
    for row in rows:
        second = row["created_at"].timestamp()
        if not buckets.start <= second < buckets.end or filters.batch not in (None, row["batch"]):
            continue
        if any((allowed := getattr(filters, f"{name}s")) and row[name] not in allowed for name in lists):
            continue
        total = sums[buckets.aligned(int(second)), *(row[name] for name in groups)]
        total["requests"] += 1
        total["unpriced"] += not row["priced"]
        for name in (*COUNTS, *MONEY):
            total[name] += row[name]
    return {key: dict(total) for key, total in sums.items()}


def by_key(found: Sequence[Any], names: Sequence[str]) -> dict[Any, Any]:
    keyed = {(each.bucket, *each.group): {name: getattr(each, name) for name in names} for each in found}
    assert len(keyed) == len(found)
    return keyed


@pytest.mark.anyio
class TestSums:
    async def test_are_those_of_the_ledger_whatever_is_asked(self, database: Database) -> None:
        """Any range, width, grouping and filter, counted again row by row."""
        chance = random.Random(11)
        rows = random_rows(chance, 400)
        await post(database, *rows)
        counted = 0
        async with database.session() as session:
            for _ in range(250):
                query = random_query(chance)
                expected = brute_force(rows, *query)
                for report, names in (
                    (itemised_sums, ("requests", "unpriced", *COUNTS, *MONEY)),
                    (cost_sums, ("unpriced", "cost_nano")),
                    (usage_sums, ("requests", *COUNTS)),
                ):
                    found = by_key(await report(session, *query), names)
                    wanted = {key: {name: total[name] for name in names} for key, total in expected.items()}
                    assert found == wanted, query
                counted += len(expected)
        assert counted > 1000

    async def test_are_sorted_by_bucket_and_group(self, database: Database) -> None:
        changes = [{"created_at": MIDNIGHT + day * DAY, "model": model} for day in (1, 0) for model in ("n", "m")]
        await post(database, *changes)
        async with database.session() as session:
            sums = await usage_sums(session, Buckets(MIDNIGHT, MIDNIGHT + 2 * DAY, DAY), ["model"], Filters())
        assert [(each.bucket, each.group) for each in sums] == [
            (MIDNIGHT, ("m",)),
            (MIDNIGHT, ("n",)),
            (MIDNIGHT + DAY, ("m",)),
            (MIDNIGHT + DAY, ("n",)),
        ]

    async def test_money_is_exact_beyond_what_a_column_holds(self, database: Database) -> None:
        await post(database, *({"project_id": f"{number}", "output_nano": 2**62 + 1} for number in range(3)))
        async with database.session() as session:
            (only,) = await itemised_sums(session, Buckets(MIDNIGHT, MIDNIGHT + DAY, DAY), [], Filters())
        assert (only.output_nano, only.cost_nano) == (3 * (2**62 + 1), 3 * (2**62 + 1 + 42_000))
