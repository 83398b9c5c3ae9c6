"""What the log's writer knows of tables without SQLAlchemy is what they are."""

import pytest

from gateway.db.base import Base
from gateway.exchanges import rows
from gateway.metering import ledger
from gateway.metering.rollups import ROLLUPS, SUMS, Rollup
from gateway.metering.traffic_rollups import TABLES, TrafficTable


def columns(table: str, *, key: bool | None = None) -> list[str]:
    found = Base.metadata.tables[table].columns
    return [each.key for each in found if key is None or each.primary_key == key]


class TestColumns:
    def test_of_the_log(self) -> None:
        assert list(rows.COLUMNS) == columns("exchanges")

    def test_of_the_ledger(self) -> None:
        assert list(ledger.COLUMNS) == columns("ledger")

    @pytest.mark.parametrize("rollup", ROLLUPS, ids=lambda each: each.name)
    def test_of_rollups(self, rollup: Rollup) -> None:
        assert sorted([rollup.unit, *rollup.keys]) == sorted(columns(rollup.name, key=True))
        assert list(SUMS) == columns(rollup.name, key=False)

    @pytest.mark.parametrize("table", TABLES, ids=lambda each: each.name)
    def test_of_traffic(self, table: TrafficTable) -> None:
        assert sorted(table.keys) == sorted(columns(table.name, key=True))
        assert sorted(table.values) == sorted(columns(table.name, key=False))
