"""Buckets of time, and the way from one page to the next."""

import base64
import itertools
import json

import pytest

from gateway.errors import InvalidRequest
from gateway.metering.time_buckets import PREFIX, Buckets, decode_page, encode_page

DAY, HOUR = 86_400, 3_600
MIDNIGHT = 1_795_219_200
"""2026-11-21 00:00 UTC."""


class TestBuckets:
    def test_are_aligned_to_utc_and_cut_to_the_range(self) -> None:
        start, end = MIDNIGHT - 7 * HOUR, MIDNIGHT + DAY + 60
        assert list(Buckets(start, end, DAY)) == [
            (start, MIDNIGHT),
            (MIDNIGHT, MIDNIGHT + DAY),
            (MIDNIGHT + DAY, end),
        ]

    @pytest.mark.parametrize(("length", "count"), [(1, 1), (HOUR, 1), (HOUR + 1, 2), (24 * HOUR, 24)])
    def test_cover_the_range_without_gaps(self, length: int, count: int) -> None:
        found = list(Buckets(MIDNIGHT, MIDNIGHT + length, HOUR))
        assert len(found) == count
        assert found[0][0] == MIDNIGHT
        assert found[-1][1] == MIDNIGHT + length
        assert all(end == start for (_, end), (start, _) in itertools.pairwise(found))

    def test_the_first_ones_count_a_cut_one_too(self) -> None:
        whole = Buckets(MIDNIGHT - 1, MIDNIGHT + 5 * DAY, DAY)
        assert list(whole.first(2)) == [(MIDNIGHT - 1, MIDNIGHT), (MIDNIGHT, MIDNIGHT + DAY)]
        assert whole.first(100) == whole


def raw(*parts: object) -> str:
    return PREFIX + base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


class TestPages:
    WHOLE = Buckets(MIDNIGHT - 1, MIDNIGHT + 5 * DAY, DAY)

    def test_go_on_where_the_last_one_stopped(self) -> None:
        rest = Buckets(MIDNIGHT + DAY, self.WHOLE.end, DAY)
        assert decode_page(encode_page(rest, "q"), self.WHOLE, "q") == rest

    def test_keep_their_end_while_now_moves_on(self) -> None:
        page = encode_page(Buckets(MIDNIGHT, MIDNIGHT + DAY, DAY), "q")
        assert decode_page(page, self.WHOLE, "q").end == MIDNIGHT + DAY

    def test_of_another_query_are_refused(self) -> None:
        page = encode_page(Buckets(MIDNIGHT, self.WHOLE.end, DAY), "q")
        with pytest.raises(InvalidRequest, match="belongs to another query") as raised:
            decode_page(page, self.WHOLE, "other")
        assert raised.value.param == "page"

    @pytest.mark.parametrize(
        "page",
        [
            "", "x", "page_", "page_é", "page_%%%", "page_AAAA", "\0", raw(), raw(1), raw("a", "b", "q"),
            raw(MIDNIGHT, MIDNIGHT + DAY), raw(MIDNIGHT, MIDNIGHT + DAY, "q", 1), raw(MIDNIGHT + 1, MIDNIGHT + DAY, "q"),
            raw(MIDNIGHT - DAY, MIDNIGHT + DAY, "q"), raw(MIDNIGHT, MIDNIGHT, "q"), raw(-DAY, MIDNIGHT, "q"),
            PREFIX + base64.urlsafe_b64encode(b"[" * 100_000).decode(),
        ],
    )  # fmt: skip
    def test_that_nobody_made_are_refused(self, page: str) -> None:
        with pytest.raises(InvalidRequest, match="not the next_page of an earlier answer"):
            decode_page(page, self.WHOLE, "q")
