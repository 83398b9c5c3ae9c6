"""Which tests go to one process, and in which order."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.shares import TOGETHER, Shares, long_first, share_of

ROOT = Path(__file__).parents[1]


class TestShareOf:
    def test_is_the_file(self) -> None:
        assert share_of("tests/judges/test_formula.py::TestParse::test_one[a::b]") == "tests/judges/test_formula.py"

    def test_of_files_with_one_server_is_the_same(self) -> None:
        one, other = "tests/openai_sdk/test_chat.py::test", "tests/openai_sdk/test_models.py::test"
        assert share_of(one) == share_of(other) != share_of("tests/openai_node/test_openai_node.py::test")

    def test_names_what_there_is(self) -> None:
        assert not [name for names in TOGETHER.values() for name in names if not (ROOT / name).exists()]


@dataclass(frozen=True)
class Item:
    nodeid: str
    slow: bool = False

    def get_closest_marker(self, name: str) -> bool:
        return name == "slow" and self.slow


def ordered(*items: Item) -> list[str]:
    return [item.nodeid for item in long_first(items)]  # type: ignore[arg-type]


class TestLongFirst:
    def test_begins_with_files_of_slow_tests(self) -> None:
        slow = [Item("b.py::one"), Item("b.py::two", slow=True)]
        assert ordered(Item("a.py::one"), *slow, Item("c.py::one")) == [
            "b.py::one",
            "b.py::two",
            "a.py::one",
            "c.py::one",
        ]

    def test_then_with_those_of_many(self) -> None:
        assert ordered(Item("a.py::z"), Item("b.py::z"), Item("b.py::a")) == ["b.py::z", "b.py::a", "a.py::z"]

    def test_keeps_together_what_shares_a_server(self) -> None:
        one, other = (Item(f"tests/openai_sdk/test_{name}.py::test") for name in ("chat", "users"))
        between = [
            Item("tests/openai_sdx/test_chat.py::one"),
            Item("tests/openai_sdx/test_chat.py::two"),
            Item("tests/openai_sdx/test_chat.py::three"),
        ]
        assert ordered(one, *between, other)[:2] == [one.nodeid, other.nodeid]


class TestShares:
    def test_tells_how_long_each_process_waited_for_the_last(self) -> None:
        shares = object.__new__(Shares)
        shares._last = {"gw1": (100.0, "tests/b.py"), "gw0": (88.0, "tests/a.py")}
        assert shares.waits() == ["gw0 waited 12 s after tests/a.py", "gw1 waited 0 s after tests/b.py"]

    def test_a_test_that_its_process_ended_with_is_told_and_not_run_again(self) -> None:
        shares = object.__new__(Shares)
        node: Any = "gw0"
        shares.assigned_work = {node: {"a.py": {"a.py::one": True, "a.py::two": False, "a.py::three": False}}}
        shares.workqueue = {}
        assert shares.remove_node(node) == "a.py::two"
        assert shares.workqueue == {"a.py": {"a.py::one": True, "a.py::two": True, "a.py::three": False}}

    def test_a_process_that_is_done_leaves_nothing(self) -> None:
        shares = object.__new__(Shares)
        node: Any = "gw0"
        shares.assigned_work, shares.workqueue = {node: {"a.py": {"a.py::one": True}}}, {}
        assert shares.remove_node(node) is None
        assert shares.workqueue == {}
