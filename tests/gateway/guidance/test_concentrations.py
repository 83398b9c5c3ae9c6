"""Where failures concentrate."""

from gateway.guidance.concentrations import concentrations
from gateway.guidance.populations import Sighting
from tests.gateway.guidance.materials import START


def sighting(n: int, team: object, *, failed: bool) -> Sighting:
    return Sighting(str(n), START + n, "m", None, None, {"team": team}, failed)


def seen(team: object, failures: int, of: int, start: int = 0) -> list[Sighting]:
    return [sighting(start + n, team, failed=n < failures) for n in range(of)]


class TestConcentrations:
    def test_a_value_that_fails_more_often_than_the_rest(self) -> None:
        [found] = concentrations(seen("legal", 20, 30) + seen("sales", 5, 100, 100))
        assert (found.key, found.value) == ("team", "legal")
        assert (found.failing.n, found.failing.of) == (20, 30)
        assert (found.elsewhere.n, found.elsewhere.of) == (5, 100)
        assert found.share_of_failures.value == 0.8

    def test_not_one_that_is_only_frequent(self) -> None:
        assert concentrations(seen("legal", 20, 200) + seen("sales", 5, 50, 500)) == []

    def test_not_one_of_few_failures(self) -> None:
        assert concentrations(seen("legal", 4, 4) + seen("sales", 0, 100, 100)) == []

    def test_not_the_only_value_that_there_is(self) -> None:
        assert concentrations(seen("legal", 20, 30)) == []

    def test_many_values_by_chance_are_none(self) -> None:
        """Fifty looks find something in one of twenty each, unless each is held to more."""
        every = [each for value in range(50) for each in seen(f"v{value}", 5 + (value == 7) * 4, 20, value * 100)]
        assert concentrations(every) == []

    def test_long_texts_and_what_is_no_text_are_no_groups(self) -> None:
        rest = seen("sales", 0, 100, 100)
        assert concentrations(seen("x" * 101, 20, 30) + rest) == []
        assert concentrations(seen(7, 20, 30) + rest) == []
