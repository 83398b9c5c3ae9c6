"""About as many rows as are wanted, whole clusters, always the same."""

import random

from gateway.datasets.cleaning.splits import aside


def clusters(count: int, *sizes: int) -> list[tuple[str, int]]:
    """In the order of their ids; of one row each, but for the first ones."""
    source = random.Random(count)
    ids = sorted(f"{source.getrandbits(128):032x}" for _ in range(count))
    return [(id, sizes[place] if place < len(sizes) else 1) for place, id in enumerate(ids)]


def taken(found: list[tuple[str, int]], share: float) -> int:
    sizes = dict(found)
    return sum(sizes[id] for id in aside(found, sum(sizes.values()), share))


class TestAside:
    def test_about_the_share(self) -> None:
        for count in (40, 100, 1000, 20_000):
            assert 0.5 <= taken(clusters(count), 0.1) / (0.1 * count) <= 1.5
        assert 0.95 <= taken(clusters(20_000), 0.1) / 2000 <= 1.05

    def test_a_large_cluster_is_learnt(self) -> None:
        found = clusters(100, 50)
        assert found[0][0] not in set(aside(found, 149, 0.1))
        assert taken(found, 0.1) >= 7

    def test_only_large_clusters(self) -> None:
        assert taken(clusters(2, 500, 500), 0.1) == 0

    def test_a_few_rows_leave_enough_to_learn(self) -> None:
        assert [taken(clusters(count), 0.5) for count in (0, 1, 9, 10, 11, 12)] == [0, 0, 0, 0, 1, 2]

    def test_twelve_rows_have_one_for_validation(self) -> None:
        assert taken(clusters(12), 0.1) == 1

    def test_no_share_is_nothing(self) -> None:
        assert taken(clusters(1000), 0.0) == 0

    def test_what_is_aside_stays_aside(self) -> None:
        found = clusters(5000)
        before = set(aside(found[::2], 2500, 0.1))
        after = set(aside(found, 5000, 0.1))
        assert before == {id for id, _ in found[::2]} & after
