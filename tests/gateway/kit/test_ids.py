"""Identifiers."""

import re

from gateway.kit import ids
from gateway.kit.ids import first_request_id, new_id, new_request_id, new_secret


class TestNewId:
    def test_is_a_prefix_and_letters_and_digits(self) -> None:
        assert re.fullmatch(r"file-[A-Za-z0-9]{24}", new_id("file-"))

    def test_does_not_repeat(self) -> None:
        assert len({new_id("x") for _ in range(1000)}) == 1000


class TestNewRequestId:
    def test_has_openais_form(self) -> None:
        assert re.fullmatch(r"req_[0-9a-f]{32}", new_request_id())

    def test_sorts_by_time(self, monkeypatch) -> None:
        moments = iter(range(1_700_000_000_000_000_000, 1_700_000_000_000_000_100))
        monkeypatch.setattr(ids.time, "time_ns", lambda: next(moments))
        made = [new_request_id() for _ in range(100)]
        assert made == sorted(made)

    def test_differs_within_a_nanosecond(self, monkeypatch) -> None:
        monkeypatch.setattr(ids.time, "time_ns", lambda: 1_700_000_000_000_000_000)
        assert len({new_request_id() for _ in range(1000)}) == 1000


class TestFirstRequestId:
    def test_parts_the_ids_of_a_second_from_those_before(self, monkeypatch) -> None:
        made: list[str] = []
        for nanosecond in (1_700_000_000 * 10**9 - 1, 1_700_000_000 * 10**9):
            monkeypatch.setattr(ids.time, "time_ns", lambda now=nanosecond: now)
            made.append(new_request_id())
        assert made[0] < first_request_id(1_700_000_000) < made[1] < first_request_id(1_700_000_001)

    def test_a_second_that_no_id_can_name_sorts_at_the_end_of_them(self) -> None:
        assert first_request_id(-1) == "req_0000000000000000"
        assert first_request_id(253_402_300_799) == "req_ffffffffffffffff"


def test_a_secret_has_256_bits() -> None:
    assert len(new_secret("sk-")) == 3 + 43  # base64 of 32 bytes
