"""How long a project keeps what."""

from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.db.tables import ProjectRetentionRow
from gateway.protocol.retention import Periods
from gateway.retention.periods import cut, in_force
from gateway.retention_settings import RetentionSettings

SETTINGS = RetentionSettings(body_days=30, exchange_days=400)


class TestInForce:
    def test_the_settings_where_a_project_says_nothing(self) -> None:
        expected = Periods(body_days=30, exchange_days=400, training_log_days=90)
        own = ProjectRetentionRow(project_id="p", body_days=None, exchange_days=None, training_log_days=None)
        assert in_force(None, SETTINGS) == expected
        assert in_force(own, SETTINGS) == expected

    def test_for_ever_is_a_choice_too(self) -> None:
        own = ProjectRetentionRow(project_id="p", body_days=0, exchange_days=7, training_log_days=None)
        assert in_force(own, SETTINGS) == Periods(body_days=0, exchange_days=7, training_log_days=90)


class TestCut:
    def test_is_a_midnight(self) -> None:
        moment = datetime(2026, 3, 2, 23, 59, 59, tzinfo=UTC)
        assert cut(1, moment) == datetime(2026, 3, 1, tzinfo=UTC)
        assert cut(30, moment) == datetime(2026, 1, 31, tzinfo=UTC)


class TestSettings:
    @pytest.mark.parametrize("name", ["body_days", "exchange_days", "training_log_days", "audit_log_days"])
    @pytest.mark.parametrize("days", [-1, 36_501])
    def test_what_is_no_period_is_named(self, name: str, days: Any) -> None:
        with pytest.raises(ValueError, match=f"{name}: {days} is no number of days"):
            RetentionSettings(**{name: days})
