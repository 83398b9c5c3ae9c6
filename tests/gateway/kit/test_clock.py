"""Time."""

from datetime import UTC, datetime, timedelta, timezone

from gateway.kit.clock import from_unix, now, unix


class TestUnix:
    def test_cuts_to_whole_seconds(self) -> None:
        assert unix(datetime(1970, 1, 1, 0, 0, 1, 999_999, tzinfo=UTC)) == 1

    def test_knows_zones(self) -> None:
        assert unix(datetime(1970, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))) == 0

    def test_and_back(self) -> None:
        assert unix(from_unix(1_795_219_200)) == 1_795_219_200


def test_now_is_utc() -> None:
    assert now().utcoffset() == timedelta(0)
