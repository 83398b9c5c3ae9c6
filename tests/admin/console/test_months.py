"""Months of a report."""

import pytest

from admin.console.api import ApiRefused
from admin.console.months import Month, latest, month_of
from tests.gateway.metering.ledger_rows import DAY, MIDNIGHT


class TestMonth:
    def test_begins_and_ends_at_midnight(self) -> None:
        month = Month(2026, 11)
        assert (month.name, month.title) == ("2026-11", "November 2026")
        assert (month.start, month.end) == (MIDNIGHT - 20 * DAY, MIDNIGHT + 10 * DAY)

    def test_over_the_year(self) -> None:
        assert Month(2026, 12).next == Month(2027, 1)
        assert Month(2026, 1).before == Month(2025, 12)
        assert [each.name for each in latest(MIDNIGHT, 12)][-2:] == ["2026-01", "2025-12"]


class TestMonthOf:
    def test_a_url(self) -> None:
        assert month_of("2024-02", MIDNIGHT) == Month(2024, 2)
        assert month_of("", MIDNIGHT) == Month(2026, 11)

    @pytest.mark.parametrize("text", ["2026", "2026-13", "2026-00", "0001-01", "9999-12", "x", "2026-1"])
    def test_what_is_none(self, text: str) -> None:
        with pytest.raises(ApiRefused):
            month_of(text, MIDNIGHT)
