import pytest

from gateway.datasets.lengths import Lengths


def of(*values: int) -> Lengths:
    lengths = Lengths()
    for value in values:
        lengths.add(value)
    return lengths


def test_order_statistics_within_two_percent() -> None:
    lengths = of(*range(1, 10_001))
    assert (lengths.count, lengths.shortest, lengths.longest) == (10_000, 1, 10_000)
    assert lengths.quantile(0.5) == pytest.approx(5_000, rel=0.025)
    assert lengths.quantile(0.95) == pytest.approx(9_500, rel=0.025)
    assert lengths.above(9_000) == pytest.approx(1_000, rel=0.2)
    assert lengths.quantile(0.5, scale=0.25) == pytest.approx(1_250, rel=0.025)


def test_small_lengths_are_exact() -> None:
    lengths = of(0, 1, 2, 31, 31)
    assert [lengths.quantile(share) for share in (0.2, 0.4, 0.6, 1.0)] == [0, 1, 2, 31]
    assert (lengths.above(30), lengths.above(31)) == (2, 0)


def test_one_length_is_itself() -> None:
    assert [of(777).quantile(share) for share in (0.01, 0.5, 1.0)] == [777, 777, 777]


def test_histogram_doubles() -> None:
    buckets = of(1, 2, 3, 16, 17).histogram()
    assert [(bucket.from_tokens, bucket.to_tokens, bucket.examples) for bucket in buckets] == [
        (1, 2, 1), (2, 4, 2), (4, 8, 0), (8, 16, 0), (16, 32, 2),
    ]  # fmt: skip


def test_nothing() -> None:
    assert (Lengths().quantile(0.5), Lengths().above(0), Lengths().histogram()) == (0, 0, [])
