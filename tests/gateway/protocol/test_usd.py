"""Dollars out of JSON."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidRequest
from gateway.protocol.usd import nano_of


def read(text: str) -> int:
    return nano_of(msgspec.Raw(text.encode()), "input", highest=100)


class TestNanoOf:
    @pytest.mark.parametrize(
        ("text", "nano"),
        [
            ("0", 0),
            ("-0", 0),
            ("0.15", 150_000_000),
            ("100", 10**11),
            ("1e2", 10**11),
            ("1.5E-9", None),
            ("1E-9", 1),
            ("0.000000001", 1),
            ("0.0000000015", None),
            ("0.1500000000000000000000000000", 150_000_000),
            ("0.15000000000000000000000000000000001", None),
            ("1E-999999999", None),
        ],
    )
    def test_every_digit_counts(self, text: str, nano: int | None) -> None:
        if nano is not None:
            assert read(text) == nano
            return
        with pytest.raises(InvalidRequest, match="finer than a nano-dollar") as caught:
            read(text)
        assert caught.value.param == "input"

    @pytest.mark.parametrize("text", ['"1"', "true", "null", "[1]", "{}", "NaN", "Infinity", "-Infinity", "", "1" * 41])
    def test_what_is_no_number_is_refused(self, text: str) -> None:
        with pytest.raises(InvalidRequest, match="expected a number of US dollars") as caught:
            read(text)
        assert (caught.value.param, caught.value.code) == ("input", "invalid_type")

    @pytest.mark.parametrize(
        ("text", "code"),
        [
            ("-1", "decimal_below_min_value"),
            ("-1e-300", "decimal_below_min_value"),
            ("100.000000001", "decimal_above_max_value"),
            ("1e400", "decimal_above_max_value"),
            ("1e999999999", "decimal_above_max_value"),
        ],
    )
    def test_what_is_out_of_bounds_is_refused(self, text: str, code: str) -> None:
        with pytest.raises(InvalidRequest, match="from 0 to 100, got") as caught:
            read(text)
        assert (caught.value.param, caught.value.code) == ("input", code)

    @given(st.integers(0, 10**11))
    def test_what_was_written_is_what_is_read(self, nano: int) -> None:
        assert read(f"{nano // 10**9}.{nano % 10**9:09}") == nano
