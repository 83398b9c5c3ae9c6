from datetime import UTC, datetime, timedelta

from gateway.serving.room import Tenant, by_worth, leaving

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def tenant(model: str, created: float, used: float | None = None, *, checkpoint: bool = False) -> Tenant:
    """Made, and last called, so many hours ago."""
    last = None if used is None else NOW - timedelta(hours=used)
    return Tenant(model, checkpoint, NOW - timedelta(hours=created), last)


def names(*tenants: Tenant) -> list[str]:
    return [each.model for each in by_worth(tenants, NOW)]


class TestByWorth:
    def test_what_was_used_last_comes_first(self) -> None:
        assert names(tenant("a", 9, 3), tenant("b", 9, 1), tenant("c", 9, 2)) == ["b", "c", "a"]

    def test_publication_counts_as_a_use(self) -> None:
        assert names(tenant("called", 9, 2), tenant("new", 1), tenant("old", 8)) == ["new", "called", "old"]

    def test_idle_checkpoints_come_last_and_busy_ones_do_not(self) -> None:
        idle, busy = tenant("idle", 0.5, 0.4, checkpoint=True), tenant("busy", 9, 0.1, checkpoint=True)
        assert names(idle, tenant("final", 99), busy) == ["busy", "final", "idle"]

    def test_order_does_not_depend_on_that_of_the_rows(self) -> None:
        same = [tenant(name, 1) for name in "abc"]
        assert names(*same) == names(*reversed(same))


class TestLeaving:
    def test_least_worth_first_and_only_what_is_too_many(self) -> None:
        loaded = [tenant("a", 9, 3), tenant("b", 9, 1), tenant("c", 9, 2)]
        assert leaving(loaded, 3, NOW) == []
        assert leaving(loaded, 2, NOW) == ["a"]
        assert leaving(loaded, 1, NOW) == ["a", "c"]

    def test_no_limit(self) -> None:
        assert leaving([tenant("a", 1)], 0, NOW) == []

    def test_what_was_just_loaded_stays_whatever_it_is(self) -> None:
        loaded = [tenant("checkpoint", 99, checkpoint=True), tenant("a", 1, 0.1), tenant("b", 1, 0.2)]
        assert leaving(loaded, 2, NOW, newest="checkpoint") == ["b"]
