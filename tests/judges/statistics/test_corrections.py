"""Many tests at once."""

import pytest

from judges.statistics.corrections import holm


class TestHolm:
    def test_known_answer(self) -> None:
        assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})

    def test_one_test_stays_as_it_is(self) -> None:
        assert holm({"only": 0.04}) == {"only": 0.04}

    def test_never_above_one_and_in_the_order_given(self) -> None:
        assert list(holm({"b": 0.9, "a": 0.8}).items()) == [("b", 1.0), ("a", 1.0)]

    def test_what_is_no_probability_is_refused(self) -> None:
        with pytest.raises(ValueError, match="no probability"):
            holm({"a": float("nan")})
