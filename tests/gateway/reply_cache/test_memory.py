"""Kept replies in the memory of a process."""

from gateway.reply_cache.entry import OVERHEAD_BYTES, Entry
from gateway.reply_cache.memory import Memory


def entry(ends_at: float = 100.0, size: int = 400) -> Entry:
    return Entry(b"x" * size, "m", "req_1", 0.0, ends_at)


def holding(*names: str, limit: int = 3000) -> Memory:
    memory = Memory(limit)
    for name in names:
        memory.put(name, entry())
    return memory


class TestGetAndPut:
    def test_until_it_ends(self) -> None:
        memory = holding("p:0:a")
        assert memory.get("p:0:a", 99.9) == entry()
        assert memory.get("p:0:b", 99.9) is None
        assert memory.get("p:0:a", 100.0) is None
        assert (len(memory), memory.size) == (0, 0)

    def test_what_was_used_longest_ago_leaves_first(self) -> None:
        memory = holding("p:0:a", "p:0:b", "p:0:c")
        memory.get("p:0:a", 0)
        memory.put("p:0:d", entry())
        assert [name for name in "abcd" if memory.get(f"p:0:{name}", 0)] == ["a", "c", "d"]
        assert memory.size == 3 * (400 + OVERHEAD_BYTES)

    def test_what_is_kept_again_counts_once(self) -> None:
        memory = holding("p:0:a", "p:0:a")
        assert (len(memory), memory.size) == (1, 400 + OVERHEAD_BYTES)

    def test_what_is_too_large_is_not_kept(self) -> None:
        memory = holding("p:0:a")
        memory.put("p:0:b", entry(size=3000))
        assert memory.get("p:0:b", 0) is None
        assert memory.get("p:0:a", 0)

    def test_nothing_where_there_is_no_room(self) -> None:
        memory = holding("p:0:a", limit=0)
        assert (len(memory), memory.size) == (0, 0)


class TestEnd:
    def test_removes_what_has_ended_and_nothing_that_was_kept_anew(self) -> None:
        memory = Memory(10_000)
        memory.put("p:0:a", entry(ends_at=10))
        memory.put("p:0:b", entry(ends_at=10))
        memory.put("p:0:b", entry(ends_at=20))
        memory.end(10)
        assert [name for name in "ab" if memory.get(f"p:0:{name}", 0)] == ["b"]
        memory.end(20)
        assert memory.size == 0

    def test_remembers_no_more_ends_than_replies_for_long(self) -> None:
        memory = Memory(10_000)
        for number in range(5000):
            memory.put("p:0:a", entry(ends_at=1000 + number))
        assert len(memory._ends) <= 1002
        memory.end(1e9)
        assert memory.size == 0


class TestDrop:
    def test_removes_all_of_a_project_alone(self) -> None:
        memory = holding("p:0:a", "p:1:b", "pq:0:c")
        memory.drop("p")
        assert len(memory) == 1
        assert memory.get("pq:0:c", 0)
