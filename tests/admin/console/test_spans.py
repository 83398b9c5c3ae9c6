"""Which time a page of traffic shows."""

import pytest

from admin.console.api import ApiRefused
from admin.console.spans import LENGTHS, span_of
from tests.gateway.metering.ledger_rows import DAY, HOUR, MIDNIGHT


class TestSpanOf:
    @pytest.mark.parametrize("name", LENGTHS)
    def test_whole_buckets_up_to_now(self, name: str) -> None:
        moment = MIDNIGHT + 1234.5
        span = span_of(name, "", "", moment)
        assert (span.end - span.start, span.width) == LENGTHS[name][:2]
        assert span.end - span.seconds <= moment < span.end
        assert span.start % span.seconds == 0

    def test_the_time_before_is_as_long(self) -> None:
        span = span_of("24h", "", "", MIDNIGHT + 10)
        assert (span.before.start, span.before.end) == (span.start - DAY, span.start)

    def test_what_is_not_known_is_a_day(self) -> None:
        assert span_of("9y", "", "", MIDNIGHT).name == "24h"

    @pytest.mark.parametrize(("length", "width"), [(60, "1m"), (HOUR, "1m"), (DAY, "1h"), (40 * DAY, "1d")])
    def test_between_two_moments_as_finely_as_it_is_answered(self, length: int, width: str) -> None:
        span = span_of("7d", str(MIDNIGHT), str(MIDNIGHT + length), 0)
        assert (span.name, span.start, span.width) == ("", MIDNIGHT, width)
        assert span.end >= MIDNIGHT + length

    @pytest.mark.parametrize(("start", "end"), [("x", "5"), ("5", ""), ("5", "5"), ("5", "9" * 30), ("-1", "5")])
    def test_moments_that_are_none(self, start: str, end: str) -> None:
        with pytest.raises(ApiRefused):
            span_of("", start, end, 0)
