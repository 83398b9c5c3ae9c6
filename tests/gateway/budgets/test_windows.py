"""The calendar of budgets."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from gateway.budgets.windows import Window, window_of

SINCE = datetime(2026, 11, 18, 9, 30, 0, 5, tzinfo=UTC)


def at(*moment: int) -> datetime:
    return datetime(*moment, tzinfo=UTC)  # type: ignore[arg-type, misc]


class TestWindowOf:
    @pytest.mark.parametrize(
        ("period", "moment", "starts", "ends"),
        [
            ("day", at(2026, 11, 18, 0, 0), at(2026, 11, 18), at(2026, 11, 19)),
            ("day", at(2026, 11, 18, 23, 59, 59, 999_999), at(2026, 11, 18), at(2026, 11, 19)),
            ("week", at(2026, 11, 16), at(2026, 11, 16), at(2026, 11, 23)),
            ("week", at(2026, 11, 22, 23), at(2026, 11, 16), at(2026, 11, 23)),
            ("week", at(2027, 1, 1), at(2026, 12, 28), at(2027, 1, 4)),
            ("month", at(2026, 12, 31, 23), at(2026, 12, 1), at(2027, 1, 1)),
            ("month", at(2028, 2, 29), at(2028, 2, 1), at(2028, 3, 1)),
        ],
    )
    def test_by_the_calendar(self, period: str, moment: datetime, starts: datetime, ends: datetime) -> None:
        assert window_of(period, SINCE, moment) == Window(starts, ends)

    def test_in_utc_whatever_the_zone_of_the_moment(self) -> None:
        moment = datetime(2026, 12, 1, 0, 30, tzinfo=timezone(timedelta(hours=1)))
        assert window_of("month", SINCE, moment) == Window(at(2026, 11, 1), at(2026, 12, 1))

    def test_a_total_begins_when_the_budget_was_made(self) -> None:
        assert window_of("total", SINCE, SINCE) == Window(SINCE, None)
        assert window_of("total", SINCE, SINCE - timedelta(microseconds=1)) is None

    def test_another_period_is_a_mistake(self) -> None:
        with pytest.raises(ValueError, match="'year'"):
            window_of("year", SINCE, SINCE)
