"""Query parameters."""

from typing import Any

import pytest
from litestar.datastructures import MultiDict

from gateway.errors import InvalidRequest
from gateway.protocol.queries import array, choice, cursor, flag, integer, mapping, text, timestamp


def query(*pairs: tuple[str, str]) -> Any:
    return MultiDict(list(pairs))


class TestInteger:
    def test_has_a_default(self) -> None:
        assert integer(query(), "limit", default=20) == 20

    @pytest.mark.parametrize(
        ("value", "code"),
        [
            ("0", "integer_below_min_value"),
            ("101", "integer_above_max_value"),
            ("1.5", "invalid_value"),
            ("", "invalid_value"),
        ],
    )
    def test_names_the_rule_that_is_broken(self, value: str, code: str) -> None:
        with pytest.raises(InvalidRequest, match="Invalid 'limit'") as raised:
            integer(query(("limit", value)), "limit", default=20)
        assert (raised.value.param, raised.value.code) == ("limit", code)

    @pytest.mark.parametrize("value", ["1", "100"])
    def test_takes_its_bounds(self, value: str) -> None:
        assert integer(query(("limit", value)), "limit", default=20) == int(value)


class TestTimestamp:
    def test_zero_is_a_time(self) -> None:
        assert timestamp(query(("t", "0")), "t") == 0

    def test_left_out_is_none(self) -> None:
        assert timestamp(query(), "t") is None

    def test_refuses_what_no_calendar_holds(self) -> None:
        with pytest.raises(InvalidRequest):
            timestamp(query(("t", str(2**40))), "t")


class TestArray:
    def test_takes_both_spellings(self) -> None:
        assert array(query(("a", "1"), ("a", "2"), ("a[]", "3"), ("b", "4")), "a") == ["1", "2", "3"]

    def test_left_out_is_empty(self) -> None:
        assert array(query(), "a") == []


def test_mapping_takes_any_keys() -> None:
    asked = query(("metadata[a]", "1"), ("metadata[b c]", "2"), ("metadata", "x"), ("other[a]", "3"))
    assert mapping(asked, "metadata") == {"a": "1", "b c": "2"}


class TestChoice:
    def test_names_what_is_allowed(self) -> None:
        with pytest.raises(InvalidRequest, match="'up' is not one of asc, desc") as raised:
            choice(query(("order", "up")), "order", ("asc", "desc"), "asc")
        assert raised.value.param == "order"

    def test_a_flag_is_true_or_false(self) -> None:
        assert flag(query(("x", "true")), "x")
        assert not flag(query(), "x")
        with pytest.raises(InvalidRequest):
            flag(query(("x", "yes")), "x")


class TestCursor:
    def test_has_openais_defaults(self) -> None:
        asked = cursor(query())
        assert (asked.limit, asked.after, asked.descending) == (20, None, True)

    def test_is_read(self) -> None:
        asked = cursor(query(("limit", "3"), ("after", "x"), ("order", "asc")))
        assert (asked.limit, asked.after, asked.descending) == (3, "x", False)


def test_an_empty_text_is_none() -> None:
    assert text(query(("a", "")), "a") is None
