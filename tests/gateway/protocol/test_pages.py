"""Pages of lists in memory, forwards and backwards."""

from dataclasses import dataclass
from typing import Any

import pytest

from gateway.errors import InvalidRequest
from gateway.protocol.lists import Cursor
from gateway.protocol.pages import page_of


@dataclass
class Thing:
    id: str


THINGS = [Thing(letter) for letter in "abcde"]


def page(**wanted: Any) -> tuple[str, bool]:
    found = page_of(THINGS, Cursor(**{"limit": 2, "after": None, "descending": False} | wanted))
    return "".join(each.id for each in found.data), found.has_more


class TestPageOf:
    @pytest.mark.parametrize(
        ("wanted", "shown", "has_more"),
        [
            ({}, "ab", True),
            ({"after": "b"}, "cd", True),
            ({"after": "d"}, "e", False),
            ({"after": "e"}, "", False),
            ({"before": "d"}, "bc", True),
            ({"before": "c"}, "ab", False),
            ({"before": "a"}, "", False),
            ({"after": "a", "before": "e"}, "bc", True),
            ({"descending": True}, "ed", True),
            ({"descending": True, "after": "c"}, "ba", False),
        ],
    )
    def test_shows_what_is_behind_after_or_in_front_of_before(
        self, wanted: dict[str, Any], shown: str, has_more: bool
    ) -> None:
        assert page(**wanted) == (shown, has_more)

    @pytest.mark.parametrize("name", ["after", "before"])
    def test_refuses_what_is_not_there(self, name: str) -> None:
        with pytest.raises(InvalidRequest) as caught:
            page(**{name: "z"})
        assert caught.value.param == name
